"""A decoded picture → line art as the model was trained on: dark lines on white.

Shape legend: H×W pixels. ``uint8`` 0..255, white paper = 255.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from colorizer.pictures.decoding import WHITE, Decoded

UInt8Array = npt.NDArray[np.uint8]

DARK_PAPER = 96
"""A picture whose median grey level is below this is drawn in light on dark."""
BACKGROUND_SIDE_PX = 256
"""The paper's shading is estimated at this size: it is smooth, and lines are thin."""
PAPER_LEVEL, INK_LEVEL = 0.92, 0.45
"""Relative to the paper's brightness: paper from here up, ink from here down."""


class Sketch(NamedTuple):
    """Line art, ready to be coloured."""

    lines: Image.Image
    """RGB, dark on white; multiplied over the colours."""
    alpha: Image.Image | None
    """Grey, 255 = opaque; None for a picture without transparency."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.lines.size


def to_sketch(decoded: Decoded, *, clean: bool = False, opaque: bool = False) -> Sketch:
    """Invert white on black; with ``clean``, turn a photo or scan into line art.

    ``opaque`` drops the alpha: the decoded RGB is composited on white already.
    """
    lines = decoded.rgb
    if is_inverted(lines):
        lines = ImageChops.invert(lines)
        if decoded.alpha is not None:  # transparent pixels are paper
            lines.paste((WHITE, WHITE, WHITE), mask=ImageChops.invert(decoded.alpha))
    if clean:
        lines = clean_lines(lines.convert("L")).convert("RGB")
    return Sketch(lines, None if opaque else decoded.alpha)


def is_inverted(rgb: Image.Image) -> bool:
    """Whether the median of a picture, composited on white, is dark.

    Transparent pixels count as white, so black lines on a transparent page aren't inverted.
    """
    cumulated = np.array(rgb.convert("L").histogram()).cumsum()
    return int(np.searchsorted(cumulated, cumulated[-1] / 2)) < DARK_PAPER


def clean_lines(grey: Image.Image) -> Image.Image:
    """A photo or scan of a drawing (mode L) → line art: white paper, dark ink, less noise.

    The paper's brightness, with its shading, is estimated by a morphological closing that removes
    dark strokes. The picture is divided by it, and levels between ink and paper are stretched.
    Raises :class:`ValueError` for another mode.
    """
    if grey.mode != "L":
        raise ValueError(f"need a picture of mode L, got {grey.mode}")
    ratio = _divide(grey.filter(ImageFilter.MedianFilter(3)), _paper(grey))
    level = np.arange(256) / 255
    stretched = (level - INK_LEVEL) / (PAPER_LEVEL - INK_LEVEL)
    return ratio.point([round(255 * min(1.0, max(0.0, float(value)))) for value in stretched])


def _paper(grey: Image.Image) -> Image.Image:
    scale = min(1.0, BACKGROUND_SIDE_PX / max(grey.size))
    width, height = (max(1, round(side * scale)) for side in grey.size)
    small = grey.resize((width, height), Image.Resampling.BOX)
    closed = small.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.MinFilter(7))
    smooth = closed.filter(ImageFilter.GaussianBlur(5))
    return smooth.resize(grey.size, Image.Resampling.BILINEAR)


def _divide(grey: Image.Image, paper: Image.Image) -> Image.Image:
    above, below = np.asarray(grey), np.asarray(paper)
    ratio = np.empty_like(above)
    # by rows: float copies of a large picture would be many times its size
    for out, top, bottom in zip(ratio, above, below, strict=True):
        out[:] = np.minimum(255.0, 255.0 * top / np.maximum(bottom, 1)).astype(np.uint8)
    return Image.fromarray(ratio)
