"""Kinds of test pictures, told from the pictures alone: a mean can hide that one kind collapsed."""

import numpy as np
import numpy.typing as npt

from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs

LINE_LEVEL = 128
"""Sketch pixels darker than this are lines."""


def find_slices(pairs: PackedPairs) -> dict[str, npt.NDArray[np.bool_]]:
    """Name → N booleans: the lowest and the highest quarter of the pictures by three measures."""
    measures = np.stack([_measure(row) for row in pairs.pixels])
    names = (("dark", "light"), ("grey", "colourful"), ("sparse", "dense"))
    slices = {}
    for (lowest, highest), values in zip(names, measures.T, strict=True):
        low, high = np.quantile(values, [0.25, 0.75])
        slices[lowest] = values <= low
        slices[highest] = values >= high
    return slices


def _measure(row: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Lightness, colourfulness and share of lines of one packed pair."""
    colour = row[..., COLOUR].astype(np.float64)
    chroma = colour.max(axis=-1) - colour.min(axis=-1)
    return np.array([colour.mean(), chroma.mean(), (row[..., SKETCH] < LINE_LEVEL).mean()])
