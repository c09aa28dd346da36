"""What holds a hint's colour back and isn't in the model's square: thin lines, and the margin.

Reduced to the square a thin line is pale, and colours would flow through it; and around the picture
the square is white, so they would flow around every line that ends at an edge. Both are marked in
the model's input of hints by a mask of −1.

Shape legend: H×W pixels of the sketch, S = side of the model's square; ``uint8``, paper 255.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from colorizer.pictures.squares import Placement

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

BARRIER = -1.0
MIN_PAPER = 147
"""0..255: colours don't pass what is darker, as ``hint_head.MIN_PAPER``."""
FAINTEST_INK = 204
"""0..255: if nothing is darker there are no lines, only a paper's grain."""
MIN_SHARE, MAX_SHARE = 0.1, 0.5
"""Of the 5×5 cells around one that thin lines cross: fewer are the edge of a line that is seen,
more are hatching or a screentone."""


def add_barriers(
    hints: Float32Array, square: UInt8Array, grey: Image.Image, placement: Placement
) -> None:
    """Mark barriers in 4×S×S hints, in place, where there is no hint.

    ``square``: the sketch as the model sees it, S×S; ``grey``: the sketch (mode L).
    """
    closed = np.ones(square.shape, np.uint8)
    placement.cut(closed)[:] = find_thin_lines(grey, placement.cut(square))
    hints[3][(closed > 0) & (hints[3] == 0)] = BARRIER


def find_thin_lines(grey: Image.Image, reduced: UInt8Array) -> BoolArray:
    """Cells that lines cross which the ``reduced`` sketch, h×w, shows paler than ink: h×w bool.

    None if the sketch isn't larger. What lies at the edge of a visible line isn't one.
    """
    height, width = reduced.shape
    if grey.height <= height or grey.width <= width:
        return np.zeros(reduced.shape, np.bool_)
    darkest = _darkest(np.asarray(grey), height, width)
    is_inked = darkest < (255 + min(int(darkest.min()), FAINTEST_INK)) / 2
    is_thin = is_inked & ~_near(reduced < MIN_PAPER)
    marks = Image.fromarray(np.where(is_thin, 255, 0).astype(np.uint8))
    share = np.asarray(marks.filter(ImageFilter.BoxBlur(2))) / 255
    return np.asarray(is_thin & (share >= MIN_SHARE) & (share <= MAX_SHARE))


def _darkest(grey: UInt8Array, height: int, width: int) -> UInt8Array:
    """H×W → the darkest pixel of each of h×w cells."""
    rows = np.arange(height) * grey.shape[0] // height
    columns = np.arange(width) * grey.shape[1] // width
    return np.asarray(np.minimum.reduceat(np.minimum.reduceat(grey, rows, 0), columns, 1))


def _near(mask: BoolArray) -> BoolArray:
    """A mask, and all cells beside it."""
    picture = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.MaxFilter(3))) > 0
