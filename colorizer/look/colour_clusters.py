"""The main colours of a picture, and which of them becomes which given colour.

Shape legend: N colours, K clusters; 3 = L*, a*, b* of CIELAB under D65.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

LIGHTNESS_WEIGHT = 0.35
"""Shading must not split a region that differs from others by its hue."""
BIN_SIDE = 5.0
"""Points in one cube of this side are together from the start: that bounds the work."""
MIN_DISTANCE = 10.0
"""Clusters nearer to each other are one colour with its shades."""
SOFTNESS = 2.0
"""The width of the transition between two clusters."""
NUM_ROUNDS = 10
"""Of k-means."""


class Clusters(NamedTuple):
    """Main colours, the largest first."""

    centres: Float32Array
    """K×3, in the space of :func:`to_hue_space`."""
    shares: Float32Array
    """K, of all coloured pixels; their sum is 1."""

    def nearest(self, points: Float32Array) -> npt.NDArray[np.intp]:
        """The cluster of each of N×3 points of the hue space."""
        return _nearest(points, self.centres)

    def nearness(self, points: Float32Array) -> Float32Array:
        """The share of each cluster in each of N×3 points: N×K, each row's sum is 1."""
        distances = np.sqrt(_squares(points, self.centres))
        shares = np.exp((distances.min(1, keepdims=True) - distances) / SOFTNESS)
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def to_hue_space(lab: Float32Array) -> Float32Array:
    """N×3 CIELAB → N×3 in which distances weigh hue more than chroma and lightness.

    Chroma is compressed (5 → 7, 25 → 25, 100 → 50), so that a pale and a strong red are nearer to
    each other than a strong red and a strong orange.
    """
    chroma = np.linalg.norm(lab[:, 1:], axis=1, keepdims=True)
    hues = lab[:, 1:] * (1.5 / (1 + chroma / 50))
    return np.concatenate([lab[:, :1] * LIGHTNESS_WEIGHT, hues], 1, dtype=np.float32)


def lightness_of(point: Float32Array) -> float:
    """L* of a point of the hue space."""
    return float(point[0] / LIGHTNESS_WEIGHT)


def find_clusters(points: Float32Array, weights: Float32Array, count: int) -> Clusters:
    """At most ``count`` clusters of N×3 points of the hue space; their weights are ≥ 0, not all 0.

    Clusters are merged in the order that costs the least variance (Ward 1963), then refined by
    k-means: both are deterministic, and a few stray pixels get no cluster of their own.
    """
    centres, sizes = _binned(points, weights)
    squares = _squares(centres, centres)
    np.fill_diagonal(squares, np.inf)
    while len(sizes) > 1:
        costs = squares * (sizes[:, None] * sizes / (sizes[:, None] + sizes))
        one, other = sorted(divmod(int(costs.argmin()), len(sizes)))
        if len(sizes) <= count and squares[one, other] >= MIN_DISTANCE**2:
            break
        total = sizes[one] + sizes[other]
        centres[one] = (centres[one] * sizes[one] + centres[other] * sizes[other]) / total
        sizes[one] = total
        centres, sizes = np.delete(centres, other, 0), np.delete(sizes, other)
        squares = np.delete(np.delete(squares, other, 0), other, 1)
        squares[one] = squares[:, one] = _squares(centres[one : one + 1], centres)[0]
        squares[one, one] = np.inf
    return _refined(points, weights, centres)


def _binned(points: Float32Array, weights: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The weighted means of the points in each occupied cube, and their total weights."""
    used = weights > 0
    points, weights = points[used], weights[used]
    cubes = np.floor(points / BIN_SIDE).astype(np.int64)
    cube_of = np.unique(cubes, axis=0, return_inverse=True)[1].ravel()
    sizes = np.bincount(cube_of, weights)
    sums = [np.bincount(cube_of, weights * values) for values in points.T]
    return (np.stack(sums, 1) / sizes[:, None]).astype(np.float32), sizes.astype(np.float32)


def _refined(points: Float32Array, weights: Float32Array, centres: Float32Array) -> Clusters:
    for _ in range(NUM_ROUNDS):
        members = _nearest(points, centres)
        for number in range(len(centres)):
            share = weights * (members == number)
            if (total := share.sum()) > 0:
                centres[number] = share @ points / total
    sizes = np.bincount(_nearest(points, centres), weights, len(centres))
    order = np.argsort(-sizes, kind="stable")
    return Clusters(centres[order], (sizes[order] / sizes.sum()).astype(np.float32))


def _nearest(points: Float32Array, centres: Float32Array) -> npt.NDArray[np.intp]:
    nearest: npt.NDArray[np.intp] = _squares(points, centres).argmin(1)
    return nearest


def _squares(points: Float32Array, others: Float32Array) -> Float32Array:
    """The squared distances of N×3 from M×3 points: N×M."""
    return np.asarray(((points[:, None] - others) ** 2).sum(2), np.float32)


def match(clusters: Clusters, wanted: Float32Array) -> list[int]:
    """The given colour of each cluster, each given one at most once; they are at least K×3.

    The assignment with the least total distance in the hue space, larger clusters counting more.
    """
    distances = np.linalg.norm(clusters.centres[:, None] - wanted, axis=2)
    return _cheapest((distances * np.sqrt(clusters.shares)[:, None]).tolist())


def _cheapest(costs: Sequence[Sequence[float]]) -> list[int]:
    """The column of each row, all different, with the least sum."""
    # set of used columns, as bits → the least sum so far, and the columns that give it
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for row in costs:
        longer: dict[int, tuple[float, list[int]]] = {}
        for used, (total, columns) in best.items():
            for column, cost in enumerate(row):
                key = used | 1 << column
                if key != used and (key not in longer or total + cost < longer[key][0]):
                    longer[key] = total + cost, [*columns, column]
        best = longer
    return min(best.values())[1]
