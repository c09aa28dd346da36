"""The colours of the packed pairs: CIELAB means and deviations, and shares of hues, by split.

Each pair gives sums over its pixels; these are added up, so no picture is kept in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colorizer.base.cielab import RGB_WHITE, srgb_to_lab
from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.pairing import Split

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

HUE_BINS = 36
"""Of 10° each."""
MIN_HUE_CHROMA = 10.0
"""CIELAB units below which a pixel counts as having no hue."""
SAMPLED_PX = 64
"""Rows and columns of a picture that are sampled, evenly spaced."""
LAB_NAMES = ("lightness", "a", "b")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourSums:
    """Sums over a picture's pixels, to be added up over many pictures."""

    num_pixels: int
    lab: Float64Array
    """Sum of L*, a*, b*."""
    lab_squared: Float64Array
    hues: Int64Array
    """Coloured pixels by hue, ``HUE_BINS`` bins from 0° = +a*."""


def sum_colours(packed: UInt8Array) -> ColourSums:
    """Add up the colours of a packed pair (S×S×4)."""
    step = max(1, len(packed) // SAMPLED_PX)
    encoded = np.moveaxis(packed[None, ::step, ::step, COLOUR] / 255.0, -1, 1)
    lab = srgb_to_lab(encoded, np, white=RGB_WHITE)[0].reshape(3, -1).T
    a, b = lab[:, 1], lab[:, 2]
    is_coloured = np.hypot(a, b) > MIN_HUE_CHROMA
    degrees = np.degrees(np.arctan2(b, a))[is_coloured] % 360.0
    bins = (degrees * (HUE_BINS / 360.0)).astype(np.int64) % HUE_BINS
    return ColourSums(
        num_pixels=len(lab),
        lab=lab.sum(axis=0),
        lab_squared=np.square(lab).sum(axis=0),
        hues=np.bincount(bins, minlength=HUE_BINS),
    )


def colour_table(colours: Mapping[Split, Sequence[ColourSums]]) -> list[dict[str, Any]]:
    """Mean and standard deviation of L*, a*, b*, one row per split: ``colours.csv``."""
    table = []
    for split, sums_of_pairs in colours.items():
        num_pixels = max(1, sum(sums.num_pixels for sums in sums_of_pairs))
        mean = sum((sums.lab for sums in sums_of_pairs), np.zeros(3)) / num_pixels
        squared = sum((sums.lab_squared for sums in sums_of_pairs), np.zeros(3)) / num_pixels
        deviation = np.sqrt(np.maximum(squared - mean**2, 0))
        line: dict[str, Any] = {"split": split, "pairs": len(sums_of_pairs)}
        for name, value, std in zip(LAB_NAMES, mean, deviation, strict=True):
            line[f"{name}_mean"] = round(float(value), 3)
            line[f"{name}_std"] = round(float(std), 3)
        table.append(line)
    return table


def hue_table(colours: Mapping[Split, Sequence[ColourSums]]) -> list[dict[str, Any]]:
    """Share of the coloured pixels, one row per split and hue: ``hues.csv``."""
    table = []
    for split, sums_of_pairs in colours.items():
        hues = sum((sums.hues for sums in sums_of_pairs), np.zeros(HUE_BINS, np.int64))
        shares = hues / max(1, int(hues.sum()))
        for number, share in enumerate(shares):
            degrees = number * 360 // HUE_BINS
            table.append({"split": split, "hue_degrees": degrees, "share": round(float(share), 5)})
    return table
