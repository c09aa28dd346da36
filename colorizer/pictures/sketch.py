"""A decoded picture → line art as the model was trained on: dark lines on white.

Training and serving both take a picture's :attr:`Sketch.grey`, so the model is served what it was
trained on: light lines on dark are turned around, and the paper's tint is divided out.

Shape legend: H×W pixels. ``uint8`` 0..255, white paper = 255.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from colorizer.pictures.decoding import WHITE, Decoded
from colorizer.pictures.paper import Page, look_at, on_white
from colorizer.pictures.squares import reduced_size

UInt8Array = npt.NDArray[np.uint8]

BACKGROUND_SIDE_PX = 256
"""The paper's shading is estimated at this size: it is smooth, and lines are thin."""
PAPER_LEVEL, INK_LEVEL = 0.92, 0.45
"""Relative to the paper's brightness: paper from here up, ink from here down."""

GREY_INK, COLOURED_INK = 0.2, 0.4
"""Saturation of ink (1 − least / most of what it takes from red, green, blue): pencil has less than
the former, a coloured trace line more than the latter."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Sketch(NamedTuple):
    """Line art, ready to be coloured."""

    lines: Image.Image
    """RGB, dark on the paper's own tint; multiplied over the colours."""
    grey: Image.Image
    """Mode L, dark on white: what the model sees, in training too."""
    alpha: Image.Image | None
    """Grey, 255 = opaque; None for a picture without transparency."""
    was_light_on_dark: bool = False
    """Whether it was turned around."""
    is_coloured: bool = False
    """Whether the picture is painted in colours already; it isn't turned around then."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.lines.size


def to_sketch(
    decoded: Decoded, page: Page | None = None, *, clean: bool = False, opaque: bool = False
) -> Sketch:
    """Turn light on dark around; with ``clean``, turn a photo or scan into line art.

    ``page``: what :func:`~colorizer.pictures.paper.look_at` says of the picture, if that is known.
    ``opaque`` drops the alpha: the decoded RGB is composited on white already.
    """
    page = page or look_at(decoded.rgb, decoded.alpha)
    lines = dark_on_white = decoded.rgb
    if page.is_light_on_dark or page.is_on_light_paper:
        dark_on_white = on_white(decoded.rgb, page.paper)
    if page.is_light_on_dark:
        lines = turn_around(ImageChops.invert(dark_on_white))  # keeps the ink's hue
        if decoded.alpha is not None:  # transparent pixels are paper
            transparent = ImageChops.invert(decoded.alpha)
            for picture in (lines, dark_on_white):
                picture.paste((WHITE, WHITE, WHITE), mask=transparent)
    grey = dark_on_white.convert("L")
    if clean:
        grey = clean_lines(grey)
        lines = give_hues(grey, lines)
    return Sketch(
        lines=lines,
        grey=grey,
        alpha=None if opaque else decoded.alpha,
        was_light_on_dark=page.is_light_on_dark,
        is_coloured=page.is_coloured,
    )


def turn_around(rgb: Image.Image) -> Image.Image:
    """Light ↔ dark, each pixel's hue kept: HSL lightness L → 1 − L. Grey v → 255 − v, exactly."""
    red, green, blue = rgb.split()
    high = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    low = ImageChops.darker(ImageChops.darker(red, green), blue)
    # v + 255 − high − low lies in 0..255, so arithmetic modulo 256 is exact
    shift = ImageChops.subtract_modulo(ImageChops.invert(high), low)
    return Image.merge("RGB", [ImageChops.add_modulo(each, shift) for each in (red, green, blue)])


def clean_lines(grey: Image.Image) -> Image.Image:
    """A photo or scan of a drawing (mode L) → line art: white paper, dark ink, less noise.

    The paper's brightness, with its shading, is estimated by a morphological closing that removes
    dark strokes. The picture is divided by it, and levels between ink and paper are stretched.
    Raises :class:`ValueError` for another mode.
    """
    if grey.mode != "L":
        raise ValueError(f"need a picture of mode L, got {grey.mode}")
    ratio = _divide(grey.filter(ImageFilter.MedianFilter(3)), _paper(grey))
    return stretch_levels(ratio, INK_LEVEL, PAPER_LEVEL)


def stretch_levels(grey: Image.Image, ink: float, paper: float) -> Image.Image:
    """Mode L: levels from ``ink`` (0..1) down become black, from ``paper`` up white."""
    shares = (np.arange(WHITE + 1) / WHITE - ink) / (paper - ink)
    return grey.point((shares.clip(0, 1) * WHITE).round().astype(int).tolist())


def give_hues(cleaned: Image.Image, lines: Image.Image) -> Image.Image:
    """Cleaned lines (mode L) with the hues of the RGB picture that they were cleaned from: RGB.

    Each colour channel is divided by its own paper, so neither the paper's tint nor that of the
    light colours lines. Pencil and black ink stay grey. The lightness is that of ``cleaned``,
    unless an ink is too saturated to be as dark.
    """
    bare = lines.filter(ImageFilter.MedianFilter(3))
    channels = [_divide(channel, _paper(channel)) for channel in bare.split()]
    result = np.empty((*channels[0].size[::-1], 3), np.uint8)
    levels, planes = np.asarray(cleaned), [np.asarray(channel) for channel in channels]
    for row, out in enumerate(result):
        ink = WHITE - np.stack([plane[row] for plane in planes], 1).astype(np.float32)
        strongest = np.maximum(ink.max(1), 1)
        saturation = 1 - ink.min(1) / strongest
        share = np.clip((saturation - GREY_INK) / (COLOURED_INK - GREY_INK), 0, 1)
        wanted = WHITE - levels[row].astype(np.float32)
        scale = np.minimum(wanted / np.maximum(ink @ LUMA, 1), WHITE / strongest)
        mixed = share[:, None] * scale[:, None] * ink + ((1 - share) * wanted)[:, None]
        out[:] = (WHITE - mixed).round().clip(0, WHITE)
    return Image.fromarray(result)


def _paper(grey: Image.Image) -> Image.Image:
    small = grey.resize(reduced_size(grey.size, BACKGROUND_SIDE_PX), Image.Resampling.BOX)
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
