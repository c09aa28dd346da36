"""What an artist brings → line art as the model knows it, and back: nothing of it is lost.

Shape legend: H×W pixels. ``uint8`` 0..255, white paper = 255.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from colorizer.pictures.decoding import WHITE, Decoded

UInt8Array = npt.NDArray[np.uint8]

DARK_PAPER = 96
"""A picture whose median is darker is drawn in light on dark."""
BACKGROUND_SIDE_PX = 256
"""Shading of paper is smooth: at this size nothing of it is lost, and lines are thin."""
PAPER_LEVEL, INK_LEVEL = 0.92, 0.45
"""Of the paper's brightness: from where on it's paper, up to where it's ink."""


class Sketch(NamedTuple):
    """Line art, ready to be coloured."""

    lines: Image.Image
    """RGB, dark on white: what is multiplied over the colours."""
    alpha: Image.Image | None
    """Grey, 255 = opaque; None for a picture without transparency."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.lines.size


def to_sketch(decoded: Decoded, *, clean: bool = False, opaque: bool = False) -> Sketch:
    """Turn white on black around; with ``clean``, make line art of a photo or scan.

    ``opaque``: it lies on white paper, nothing is transparent any more.
    """
    lines = decoded.rgb
    if is_inverted(lines):
        lines = ImageChops.invert(lines)
        if decoded.alpha is not None:  # what is transparent is paper
            lines.paste((WHITE, WHITE, WHITE), mask=ImageChops.invert(decoded.alpha))
    if clean:
        lines = clean_lines(lines.convert("L")).convert("RGB")
    return Sketch(lines, None if opaque else decoded.alpha)


def is_inverted(rgb: Image.Image) -> bool:
    """Whether most of a picture, as it lies on white paper, is dark.

    What is transparent counts as white: of black lines on nothing, all that is seen is dark.
    """
    cumulated = np.array(rgb.convert("L").histogram()).cumsum()
    return int(np.searchsorted(cumulated, cumulated[-1] / 2)) < DARK_PAPER


def clean_lines(grey: Image.Image) -> Image.Image:
    """A photo or scan of a drawing (grey) → line art: paper white, noise gone, ink dark.

    The paper's own brightness, shading included, is what remains when dark strokes are closed; the
    picture is divided by it, and what is neither paper nor ink is stretched between them.
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
    # row by row: float copies of a large picture would be many times its size
    for out, top, bottom in zip(ratio, above, below, strict=True):
        out[:] = np.minimum(255.0, 255.0 * top / np.maximum(bottom, 1)).astype(np.uint8)
    return Image.fromarray(ratio)
