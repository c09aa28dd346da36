"""Dots of hints for evaluation: where an artist would put them, a few regions first.

Regions are what ink encloses. They are drawn at random by their areas, each once before any comes
again; the dot lies at a random place inside. All is a function of the pair and the seed, and the
first k of a picture's dots are the same for every k.

Shape legend: N pictures, D dots, S = image size in pixels; values in −1..1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline_steps.hints.marks import (
    Marks,
    colours_under,
    cover,
    find_paper,
    find_places,
    paint,
)
from pipeline_steps.scores.regions import Regions, find_regions

Int64Array = npt.NDArray[np.int64]

COUNTS = (1, 2, 5, 10, 20, 50)
"""Dots a picture, at each of which evaluation scores."""
RADIUS_SHARE = 2 / 128
"""Of the side."""


class Dots(NamedTuple):
    """The dots of one picture, in their order."""

    rows: Int64Array
    """D: of the centre, in pixels."""
    columns: Int64Array
    regions: Int64Array
    """D: the label of the region that each lies in."""
    labels: Int64Array
    """S×S, as :class:`~pipeline_steps.scores.regions.Regions` has them."""


def place_dots(truth: Tensor, sketch: Tensor, seeds: Sequence[int], count: int) -> list[Dots]:
    """Up to ``count`` dots for each of N×3×S×S pictures and their N×1×S×S sketches.

    None where a picture has no region with a flat place.
    """
    places = find_places(truth, sketch).cpu().numpy()
    return [
        _place(regions, place, np.random.default_rng(seed), count)
        for regions, place, seed in zip(find_regions(sketch), places, seeds, strict=True)
    ]


def _place(
    regions: Regions, places: npt.NDArray[np.bool_], random: np.random.Generator, count: int
) -> Dots:
    labels = np.where(places, regions.labels, 0)
    areas = np.bincount(labels.ravel(), minlength=regions.number + 1).astype(np.float64)
    areas[0] = 0
    found: list[tuple[int, int, int]] = []
    left = areas.copy()
    while areas.any() and len(found) < count:
        if not left.any():
            left = areas.copy()
        region = int(random.choice(len(left), p=left / left.sum()))
        left[region] = 0
        rows, columns = np.nonzero(labels == region)
        at = int(random.integers(len(rows)))
        found.append((int(rows[at]), int(columns[at]), region))
    table = np.array(found, np.int64).reshape(-1, 3).T
    return Dots(table[0], table[1], table[2], regions.labels)


def paint_dots(
    truth: Tensor,
    sketch: Tensor,
    dots: Sequence[Dots],
    count: int,
    colours: Tensor | None = None,
) -> Tensor:
    """The first ``count`` dots of each picture as hints: N×4×S×S.

    Of the true picture's colours, or of ``colours``, N×3.
    """
    radius_px, size = RADIUS_SHARE * truth.shape[-1], truth.shape[-1]
    first = [(each.rows[:count], each.columns[:count]) for each in dots]
    counts = torch.tensor([len(rows) for rows, _ in first])
    rows, columns = (
        torch.from_numpy(np.concatenate([pair[axis] for pair in first])) for axis in (0, 1)
    )
    picture = torch.arange(len(dots)).repeat_interleave(counts)
    zeros = torch.zeros(len(rows))
    marks = Marks(picture, rows, columns, zeros + radius_px, zeros, zeros)
    covered = cover(truth, find_paper(sketch), marks, reach=math.ceil(radius_px))
    given = colours_under(covered) if colours is None else colours[picture]
    return paint(covered, given, len(truth), size)
