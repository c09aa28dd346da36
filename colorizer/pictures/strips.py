"""Strips, such as webtoons: so long that little is left of them in the model's square.

They are drawn in overlapping windows along the long side, and a window fades into the next: over
the rows without ink between two panels if the overlap has such, else over the whole overlap.

Shape legend: N pixels along the long side; columns of a wide strip are called rows as well.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]

OVERLAP = 0.5
"""Of a window, at least, that it shares with the one before."""
MAX_WINDOWS = 512
"""Windows of longer strips are longer than wide."""
MAX_ENLARGED_PIXELS = 1 << 24
"""Of a strip that is drawn larger than it is."""
BLANK_LEVEL = 230
"""0..255: a row without any darker pixel has no ink."""
MIN_BLANK_PX = 2
"""Fewer rows, as drawn, are no gap between panels."""


class Window(NamedTuple):
    """A part of a strip, by its first row and its number of rows."""

    start: int
    length: int
    drawn_start: int
    """Where it lies in what is drawn, which may have another scale."""


def window_length(size: tuple[int, int], side: int) -> int:
    """Rows of a strip that are drawn into a square of ``side`` px: as many as it is wide.

    More where the strip is so thin that the square would have pixels for nothing.
    """
    short, long = sorted(size)
    enlargeable = min(1.0, math.sqrt(short * long / MAX_ENLARGED_PIXELS))
    longest = math.ceil(long / (OVERLAP * MAX_WINDOWS))
    return min(long, max(short, round(side * enlargeable), longest))


def place_windows(
    length: int, window: int, drawn_length: int, drawn_window: int, overlap: float = OVERLAP
) -> list[Window]:
    """Windows from the first to the last row, evenly spaced.

    Of ``length`` rows, ``window`` a time; they are drawn as ``drawn_window`` of ``drawn_length``.
    """
    rest, drawn_rest = length - window, drawn_length - drawn_window
    count = 1 + math.ceil(rest / max(1, window * (1 - overlap)))
    windows = []
    for number in range(count):
        share = number / max(1, count - 1)
        # on the coarser of both grids, so that rounding on the finer one is less than a pixel of it
        coarse = min(rest, drawn_rest)
        if coarse > 0:
            share = round(share * coarse) / coarse
        windows.append(Window(round(share * rest), window, round(share * drawn_rest)))
    return windows


def crop_rows(picture: Image.Image, start: int, length: int) -> Image.Image:
    """Rows of a picture: of its longer side."""
    if picture.height >= picture.width:
        return picture.crop((0, start, picture.width, start + length))
    return picture.crop((start, 0, start + length, picture.height))


def draw_windows(
    size: tuple[int, int],
    windows: list[Window],
    draw: Callable[[Window], Image.Image],
    sketch: Image.Image | None = None,
) -> Image.Image:
    """Draw each window, and join them to an RGB picture of this size.

    ``draw`` returns RGB, as wide as the picture. ``sketch`` (mode L, the whole strip): where it has
    no ink, windows are joined there.
    """
    result = Image.new("RGB", size)
    first = draw(windows[0])
    result.paste(first, (0, 0))
    is_tall = size[1] >= size[0]
    for before, window in pairwise(windows):
        part = draw(window)
        drawn_length = part.height if is_tall else part.width
        shared = max(0, before.drawn_start + drawn_length - window.drawn_start)
        fade = (0, shared)
        if sketch is not None:
            fade = _find_gap(sketch, before, window, drawn_length / window.length) or fade
        mask = _fade_in(part.size, fade, is_tall=is_tall)
        place = (0, window.drawn_start) if is_tall else (window.drawn_start, 0)
        result.paste(part, place, mask)
    return result


def _find_gap(
    sketch: Image.Image, before: Window, window: Window, scale: float
) -> tuple[int, int] | None:
    """The most rows without ink that two windows share: first and last, from the second's start."""
    shared = before.start + before.length - window.start
    if shared <= 0:
        return None
    levels = np.asarray(crop_rows(sketch, window.start, shared))
    darkest = levels.min(axis=1 if sketch.height >= sketch.width else 0)
    edges = np.flatnonzero(np.diff(np.pad(darkest >= BLANK_LEVEL, 1).astype(np.int8)))
    first, last = max(
        edges.reshape(-1, 2).tolist(), key=lambda gap: gap[1] - gap[0], default=(0, 0)
    )
    first, last = round(first * scale), round(last * scale)
    return (first, last) if last - first >= MIN_BLANK_PX else None


def _fade_in(size: tuple[int, int], fade: tuple[int, int], *, is_tall: bool) -> Image.Image:
    """A mask of a part: 0 before the rows of the fade, 255 after them."""
    width, height = size
    first, last = fade
    rows = np.arange(height if is_tall else width, dtype=np.float32)
    share = np.clip((rows + 0.5 - first) / max(1, last - first), 0, 1)
    levels = (255 * share * share * (3 - 2 * share)).round().astype(np.uint8)
    if last <= first:
        levels[:] = 255
    mask = np.broadcast_to(levels[:, None] if is_tall else levels[None], (height, width))
    return Image.fromarray(np.ascontiguousarray(mask))
