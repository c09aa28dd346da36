"""Lines on white → ink on a transparent layer, which lies over colours and can be recoloured.

White becomes transparency as far as possible, as in GIMP's *Color to Alpha*: grey becomes half
transparent black.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from colorizer.pictures.decoding import WHITE

UInt8Array = npt.NDArray[np.uint8]

BAND_ROWS = 256


class InkAndColour(NamedTuple):
    """Two RGBA layers: ink multiplied over colour gives the picture."""

    ink: Image.Image
    colour: Image.Image


def separate(colour: Image.Image, lines: Image.Image, alpha: Image.Image | None) -> InkAndColour:
    """Layers of a coloured sketch, from RGB colours, RGB lines on white and its alpha (grey).

    Two half transparent layers are more opaque together. So under ink the colour layer is made more
    transparent, such that both together have the sketch's alpha.
    """
    red, green, blue = lines.split()
    density = ImageChops.invert(ImageChops.darker(ImageChops.darker(red, green), blue))
    ink = _remove_white(lines, density)
    below = colour.copy()
    if alpha is None:
        ink.putalpha(density)
        below.putalpha(WHITE)
    else:
        above = ImageChops.multiply(alpha, density)
        ink.putalpha(above)
        below.putalpha(_alpha_below(alpha, above))
    return InkAndColour(ink, below)


def _remove_white(lines: Image.Image, density: Image.Image) -> Image.Image:
    """The ink's own colour: lines = white · (1 − density) + colour · density."""
    result = Image.new("RGB", lines.size)
    # in bands: float copies of a large picture would be many times its size
    for top in range(0, lines.height, BAND_ROWS):
        box = (0, top, lines.width, min(top + BAND_ROWS, lines.height))
        share = np.asarray(density.crop(box), np.float32)[..., None] / WHITE
        values = np.asarray(lines.crop(box), np.float32)
        own = (values - WHITE * (1 - share)) / np.maximum(share, 1 / WHITE)
        result.paste(Image.fromarray(own.round().clip(0, WHITE).astype(np.uint8)), box)
    return result


def _alpha_below(alpha: Image.Image, above: Image.Image) -> Image.Image:
    """The alpha that gives ``alpha`` when ``above`` lies over it."""
    wanted, over = np.asarray(alpha), np.asarray(above)
    below = np.empty_like(wanted)
    # row by row, for the same reason
    for out, row, over_row in zip(below, wanted, over, strict=True):
        rest = np.maximum(WHITE - over_row.astype(np.float32), 1)
        share = (row.astype(np.float32) - over_row) / rest
        out[:] = (WHITE * share).round().clip(0, WHITE)
    # invisible under opaque ink
    below[over == WHITE] = WHITE
    return Image.fromarray(below)
