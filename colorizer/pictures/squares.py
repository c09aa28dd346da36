"""A picture of any size → the square that is the model's input, and back.

Shape legend: H×W pixels, S = side of the square. ``uint8`` 0..255, white paper = 255.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from colorizer.pictures.decoding import WHITE

UInt8Array = npt.NDArray[np.uint8]

MAX_ASPECT = 2.0
"""Longer pictures are strips. In a square these lose their colours: docs/colouring.md."""
MAX_REDUCED_ASPECT = 128
"""Still longer ones are reduced further, so that the result's size is bounded."""


class Placement(NamedTuple):
    """Where a picture lies in the square that it was fitted into, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, square: UInt8Array) -> UInt8Array:
        """The picture's part of the square: S×S[×3] → height×width[×3], a view."""
        return square[self.top : self.top + self.height, self.left : self.left + self.width]


def fit_square(picture: Image.Image, size: int) -> tuple[UInt8Array, Placement]:
    """Resize an RGB or L picture, aspect kept, to the middle of a white square.

    Returns S×S×3 (RGB) or S×S (L) ``uint8`` with S = ``size``, and where the picture lies in it.
    Shrinking averages without overshoot, so lines neither vanish nor get halos. Raises
    :class:`ValueError` for another mode or a size below 1.
    """
    return _fit(picture, size, _resize)


def fit_sketch(picture: Image.Image, size: int) -> tuple[UInt8Array, Placement]:
    """Grey (Rec. 601 luma) and fitted like :func:`fit_square`: S×S ``uint8``, as in training.

    Shrinking is sharper, so that a sketch looks the same to the model from whatever size it comes.
    """
    return _fit(picture.convert("L"), size, _resize_lines)


def _fit(
    picture: Image.Image, size: int, resize: Callable[[Image.Image, int, int], Image.Image]
) -> tuple[UInt8Array, Placement]:
    if picture.mode not in ("RGB", "L"):
        raise ValueError(f"need a picture of mode RGB or L, got {picture.mode}")
    if size < 1:
        raise ValueError(f"size must be ≥ 1, got {size}")
    placement = place_in_square(picture.size, size)
    shape = (size, size, 3) if picture.mode == "RGB" else (size, size)
    square = np.full(shape, WHITE, np.uint8)
    placement.cut(square)[:] = np.asarray(resize(picture, placement.width, placement.height))
    return square, placement


def place_in_square(picture_size: tuple[int, int], size: int) -> Placement:
    """Where :func:`fit_square` puts a picture of this width and height."""
    scale = size / max(picture_size)
    width, height = (max(1, round(side * scale)) for side in picture_size)
    return Placement((size - width) // 2, (size - height) // 2, width, height)


def is_strip(size: tuple[int, int]) -> bool:
    """Whether a picture is too long for a square; see :mod:`colorizer.pictures.strips`."""
    return max(size) > MAX_ASPECT * min(size)


def reduced_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """A picture's width and height with a longer side of ``side`` px at most, aspect kept.

    A strip is reduced like a picture of its width that is just none.
    """
    longest = float(max(size))
    if is_strip(size):
        longest = max(MAX_ASPECT * min(size), MAX_ASPECT / MAX_REDUCED_ASPECT * longest)
    scale = min(1.0, side / longest)
    width, height = size
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    if (width, height) == picture.size:
        return picture
    if max(width, height) < max(picture.size):
        return picture.resize((width, height), Image.Resampling.HAMMING, reducing_gap=3.0)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _resize_lines(picture: Image.Image, width: int, height: int) -> Image.Image:
    if max(width, height) >= max(picture.size):
        return _resize(picture, width, height)
    # smoother filters fade the lines of a sketch that was shrunk before, and blur them
    sharp = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    mean = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    # without the bright rims that overshoot gives lines on grey paper
    return ImageChops.darker(sharp, Image.fromarray(_lightest_neighbours(np.asarray(mean))))


def _lightest_neighbours(levels: UInt8Array) -> UInt8Array:
    """H×W → each pixel's maximum with its neighbours'; much faster than Pillow's filter."""
    rows = levels.copy()
    np.maximum(rows[1:], levels[:-1], out=rows[1:])
    np.maximum(rows[:-1], levels[1:], out=rows[:-1])
    lightest = rows.copy()
    np.maximum(lightest[:, 1:], rows[:, :-1], out=lightest[:, 1:])
    np.maximum(lightest[:, :-1], rows[:, 1:], out=lightest[:, :-1])
    return lightest
