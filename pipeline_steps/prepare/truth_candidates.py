"""Which truths may show the same picture: the nearest by their share of each colour.

Shares of colours change little when a picture is coded again, mirrored, or loses a margin, and cost
one matrix product to compare with all others. Each truth is compared whole, and without a margin
with the others whole, so that a large crop is found too. :mod:`same_truth` decides.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline_steps.pairs.packed import UInt8Array

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
UInt16Array = npt.NDArray[np.uint16]

LEVELS = 4
"""Of a channel: a colour is shared among the nearest of ``LEVELS``³."""
FINE_LEVELS = 16
MARGIN = 0.1
"""Of a side's length; a crop may lack up to twice as much."""
MAX_SQUARED_DISTANCE = 0.1
"""Of the square roots of two truths' shares, 0..2."""
MAX_CANDIDATES = 24
"""Per truth, the nearest: bounds the work in a set whose truths are all alike."""
_SCALE = 255
"""Square roots of shares become integers: float32 then adds them exactly, in any order."""
_BLOCK_ELEMENTS = 1 << 23
"""Distances in memory at once, 4 bytes each."""


def colour_shares(truths: UInt8Array) -> Float32Array:
    """N×T×T×3 → N×2×``LEVELS``³ integers 0..255: of whole truths, and without the margin."""
    size = truths.shape[1]
    margin = round(MARGIN * size)
    red, green, blue = np.moveaxis(truths // (256 // FINE_LEVELS), -1, 0).astype(np.uint16)
    codes = (red * FINE_LEVELS + green) * FINE_LEVELS + blue
    inner = codes[:, margin : size - margin, margin : size - margin]
    spread = _spread_over_levels()
    shares = [_histograms(each.reshape(len(truths), -1)) @ spread for each in (codes, inner)]
    rounded: Float32Array = np.rint(np.sqrt(np.stack(shares, axis=1)) * _SCALE)
    return rounded.astype(np.float32)


def candidates(shares: Float32Array) -> Iterator[tuple[int, Int64Array]]:
    """Yield each truth's number and those of its candidates, both orders of a pair included.

    ``shares`` are as :func:`colour_shares` gives them.
    """
    whole, inner = shares[:, 0], shares[:, 1]
    limit = MAX_SQUARED_DISTANCE * _SCALE**2
    squares = np.einsum("nd,nd->n", whole, whole)
    num = len(shares)
    num_rows = max(1, _BLOCK_ELEMENTS // max(1, num))
    for start in range(0, num, num_rows):
        rows = slice(start, start + num_rows)
        neighbours: list[list[Int64Array]] = [[] for _ in whole[rows]]
        for block in (whole[rows], inner[rows]):
            distances = np.square(block).sum(axis=1)[:, None] + squares - 2 * (block @ whole.T)
            own = np.arange(len(block))
            distances[own, start + own] = np.inf
            for row, column in _nearest(distances, limit):
                neighbours[row].append(column)
        for number, found in enumerate(neighbours, start):
            yield number, np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _nearest(distances: Float32Array, limit: float) -> Iterator[tuple[int, Int64Array]]:
    is_near = distances <= limit
    for row in np.flatnonzero(is_near.any(axis=1)):
        columns = np.flatnonzero(is_near[row])
        if len(columns) > MAX_CANDIDATES:
            order = np.argsort(distances[row, columns], kind="stable")
            columns = columns[order[:MAX_CANDIDATES]]
        yield int(row), columns


def _histograms(codes: UInt16Array) -> Float32Array:
    """N×P → N×``FINE_LEVELS``³ shares."""
    num, num_pixels = codes.shape
    num_codes = FINE_LEVELS**3
    flat = (codes + np.arange(num)[:, None] * num_codes).ravel()
    counts = np.bincount(flat, minlength=num * num_codes).reshape(num, num_codes)
    shares: Float32Array = (counts / num_pixels).astype(np.float32)
    return shares


def _spread_over_levels() -> Float32Array:
    """``FINE_LEVELS``³×``LEVELS``³: each fine colour's weights among the coarse ones.

    Weights fall linearly, so a colour that is a little off changes shares only a little.
    """
    place = (np.arange(FINE_LEVELS) + 0.5) / FINE_LEVELS * (LEVELS - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(LEVELS)))
    joint = np.einsum("ri,gj,bk->rgbijk", weights, weights, weights)
    spread: Float32Array = joint.reshape(FINE_LEVELS**3, LEVELS**3).astype(np.float32)
    return spread
