"""A painted layer → dots, so that it can be edited as such.

Each dot is a disc that lies in one colour; the largest come first, until all is covered. Drawn, the
dots differ from the layer by a pixel at its edges.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.errors import HintError
from colorizer.hints.hint import MAX_HINTS, Hint, parse_document, require_inside
from colorizer.hints.layer import Size, is_json, read_bytes
from colorizer.pictures.decoder_process import DecoderProcess

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

TOLERANCES = (3, 12, 48)
"""Levels of 255 within which colours are one: of soft edges; if dots are too many, of JPEG."""
MAX_COLOURS = 500
"""Of the dots."""
MAX_SHADES = 20_000
"""Of the picture: a layer with more is a photo or noise. These bounds keep a request at seconds."""
MAX_RADIUS_PX = 32
MAX_PAINTED_PX = 1_000_000
DRAWN_BEYOND_PX = 0.45
"""How far a dot of a whole radius reaches beyond it."""
PIXEL_RADIUS_PX = 0.1
"""Of a dot that is one pixel."""
NOTHING = -1
_CHUNK = 8192


class Dots(NamedTuple):
    """Hints as dots, and the picture's width and height; None if they don't say it."""

    size: Size | None
    hints: list[Hint]


def read_dots(data: bytes, *, decoder: DecoderProcess | None = None) -> Dots:
    """JSON, an .ora or a painted picture → dots: as they were given, or those that cover the paint.

    Raises :class:`HintError`, also if it takes more than 10,000 dots, and
    :class:`~colorizer.base.errors.PictureError` for a picture that can't be read.
    """
    if is_json(data):
        hints, size = parse_document(data)
        if size is not None:
            require_inside(hints, size)
        return Dots(size, hints)
    layer = read_bytes(data, None, decoder=decoder)
    dots = layer.dots if layer.dots is not None else cover(layer.picture)
    return Dots(layer.picture.size, dots)


def cover(layer: Image.Image) -> list[Hint]:
    """Dots that cover what is opaque in a layer. Raises :class:`HintError` if it takes too many."""
    box = layer.getbbox()
    if box is None:
        return []
    # with what is transparent around it, except beyond the picture, where dots may reach
    left, top = max(0, box[0] - 1), max(0, box[1] - 1)
    right, bottom = min(layer.width, box[2] + 1), min(layer.height, box[3] + 1)
    pixels = np.asarray(layer.crop((left, top, right, bottom))).astype(np.int32)
    if np.count_nonzero(pixels[..., 3]) > MAX_PAINTED_PX:
        raise _too_much(f"more than {MAX_PAINTED_PX:,} pixels are painted")
    for tolerance in TOLERANCES:
        found = _find_colours(pixels, tolerance)
        if found is not None:
            labels, colours = found
            discs = _find_discs(labels)
            if discs is not None:
                return [
                    _to_hint(x + left, y + top, colours[labels[y, x]], radius)
                    for y, x, radius in discs
                ]
    raise _too_much(f"it takes more than {MAX_HINTS:,} dots")


def _to_hint(x: int, y: int, colour: int, radius: float) -> Hint:
    # as dots are drawn: a whole radius is even around a whole number, one pixel isn't
    inset = 0.5 if radius < 1 else 0.0
    return Hint(x + inset, y + inset, f"#{colour:06x}", radius)


def _too_much(what: str) -> HintError:
    return HintError(f"what is painted can't become dots: {what}; send the picture as hints itself")


def _find_colours(pixels: Int32Array, tolerance: int) -> tuple[Int32Array, list[int]] | None:
    """H×W numbers of colours (``NOTHING`` where transparent), and the colours as 0xrrggbb.

    A colour that is within the tolerance of a more frequent one counts as that. None if there are
    too many.
    """
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    is_painted = pixels[..., 3] > 0
    unique, inverse, counts = np.unique(codes[is_painted], return_inverse=True, return_counts=True)
    if len(unique) > MAX_SHADES:
        return None
    channels = np.stack([unique >> 16, (unique >> 8) & 255, unique & 255], axis=1)
    numbers = np.full(len(unique), NOTHING, np.int32)
    colours: list[int] = []
    for place in np.argsort(-counts, kind="stable"):
        if numbers[place] == NOTHING:
            if len(colours) == MAX_COLOURS:
                return None
            near = np.abs(channels - channels[place]).max(axis=1) <= tolerance
            numbers[near & (numbers == NOTHING)] = len(colours)
            colours.append(int(unique[place]))
    labels = np.full(codes.shape, NOTHING, np.int32)
    labels[is_painted] = numbers[inverse]
    return labels, colours


def _find_discs(labels: Int32Array) -> list[tuple[int, int, float]] | None:
    """Row, column and radius of discs, each in one colour, that cover all; None if too many."""
    width = labels.shape[1]
    squares = _squared_distances(labels)
    # within the area, as they are drawn; one of 1 px covers a pixel and its four neighbours
    radii = np.floor(np.sqrt(squares) - DRAWN_BEYOND_PX)
    radii[radii < 1] = np.where(squares[radii < 1] > 1, 1, PIXEL_RADIUS_PX)
    is_covered = labels == NOTHING
    painted = np.flatnonzero(~is_covered)
    order = painted[np.argsort(-radii.ravel()[painted], kind="stable")]
    discs: list[tuple[int, int, float]] = []
    start = 0
    while start < len(order):
        open_places = np.flatnonzero(~is_covered.ravel()[order[start : start + _CHUNK]])
        if len(open_places) == 0:
            start += _CHUNK
            continue
        start += int(open_places[0])
        row, column = divmod(int(order[start]), width)
        row, column = _climb(labels, radii, row, column)
        radius = float(radii[row, column])
        if len(discs) == MAX_HINTS:
            return None
        discs.append((row, column, radius))
        # a rim of a pixel needs no dots of its own, but a line of a pixel does
        window, apart = _around(labels.shape, row, column, int(radius) + 2)
        is_same = labels[window] == labels[row, column]
        reach = radius + DRAWN_BEYOND_PX + min(1.0, radius / 4)
        is_covered[window] |= is_same & (apart <= reach**2)
    return discs


def _climb(
    labels: Int32Array, radii: npt.NDArray[np.float64], row: int, column: int
) -> tuple[int, int]:
    """The centre of a large disc near a pixel that holds it."""
    window, squares = _around(labels.shape, row, column, 4 * int(radii[row, column]) + 4)
    reach = radii[window] + DRAWN_BEYOND_PX
    holds = (labels[window] == labels[row, column]) & (squares <= reach**2)
    # where all are as large, as in the middle of an area, it stays: what is around is covered
    gain = radii[window] - np.sqrt(squares) / 2
    best = int(np.argmax(np.where(holds, gain, -np.inf)))
    up, left = divmod(best, holds.shape[1])
    return window[0].start + up, window[1].start + left


def _around(
    shape: tuple[int, ...], row: int, column: int, reach: int
) -> tuple[tuple[slice, slice], Int64Array]:
    """The part of a picture around a pixel, and its pixels' squared distances from that."""
    rows = slice(max(0, row - reach), min(shape[0], row + reach + 1))
    columns = slice(max(0, column - reach), min(shape[1], column + reach + 1))
    down, right = np.ogrid[rows, columns]
    return (rows, columns), (down - row) ** 2 + (right - column) ** 2


def _squared_distances(labels: Int32Array) -> Int64Array:
    """H×W: from each painted pixel to the nearest of another label, capped; beyond edges is none.

    Meijster's two passes: along columns, then along rows over the columns' results.
    """
    width = labels.shape[1]
    columns = np.minimum(_distances_up(labels), _distances_up(labels[::-1])[::-1]) ** 2
    result = columns.copy()
    flat_labels, flat_columns, flat_result = labels.ravel(), columns.ravel(), result.ravel()
    active = np.flatnonzero(labels != NOTHING)
    for step in range(1, MAX_RADIUS_PX):
        # nothing that is farther along the row can be nearer
        active = active[flat_result[active] > step**2]
        if len(active) == 0:
            break
        for offset, is_inside in (
            (-step, active % width >= step),
            (step, active % width < width - step),
        ):
            here = active[is_inside]
            other = here + offset
            is_same = flat_labels[other] == flat_labels[here]
            distances = np.where(is_same, flat_columns[other], 0) + step**2
            flat_result[here] = np.minimum(flat_result[here], distances)
    return result


def _distances_up(labels: Int32Array) -> Int64Array:
    """H×W: to the nearest pixel of another label above, in the same column, capped."""
    rows = np.arange(len(labels))[:, None]
    is_new = labels[1:] != labels[:-1]
    first = np.zeros(labels.shape, np.int64)
    first[1:] = np.where(is_new, rows[1:], 0)
    starts = np.maximum.accumulate(first, axis=0)
    # a run that begins at the edge has nothing above
    distances: Int64Array = np.where(starts > 0, rows - starts + 1, MAX_RADIUS_PX)
    return np.minimum(distances, MAX_RADIUS_PX)
