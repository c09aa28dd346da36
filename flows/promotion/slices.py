"""Kinds of test pictures, found by their pixels: a mean can hide that one kind collapsed."""

import numpy as np
import numpy.typing as npt

from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs

LINE_LEVEL = 128
"""Sketch pixels darker than this are lines."""


def find_slices(pairs: PackedPairs) -> dict[str, npt.NDArray[np.bool_]]:
    """Name → N booleans: the lowest and the highest quarter of the pictures by three measures."""
    measures = np.stack([_measure(pair) for pair in pairs.pixels])
    names = (("dark", "light"), ("grey", "colourful"), ("sparse", "dense"))
    slices = {}
    for (lowest, highest), values in zip(names, measures.T, strict=True):
        low, high = np.quantile(values, [0.25, 0.75])
        slices[lowest] = values <= low
        slices[highest] = values >= high
    return slices


def _measure(pair: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Lightness, colourfulness (both 0..255) and share of lines (0..1) of one packed pair."""
    colour = pair[..., COLOUR].astype(np.float64)
    chroma = colour.max(axis=-1) - colour.min(axis=-1)
    return np.array([colour.mean(), chroma.mean(), (pair[..., SKETCH] < LINE_LEVEL).mean()])
