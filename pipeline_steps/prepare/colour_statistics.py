"""The colours of the packed pairs: CIELAB means and deviations, and shares of hues, by split.

Each pair gives sums over its pixels; these are added up one by one, so that nothing of a pair stays
in memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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


def encode_sums(sums: ColourSums) -> list[Any]:
    """As a JSON value."""
    return [sums.num_pixels, *(each.tolist() for each in (sums.lab, sums.lab_squared, sums.hues))]


def decode_sums(values: list[Any]) -> ColourSums:
    """From :func:`encode_sums`'s value: equal sums."""
    num_pixels, lab, lab_squared, hues = values
    return ColourSums(
        num_pixels=num_pixels,
        lab=np.array(lab, np.float64),
        lab_squared=np.array(lab_squared, np.float64),
        hues=np.array(hues, np.int64),
    )


class SplitColours(NamedTuple):
    """The sums of a split's pairs, added up."""

    num_pairs: int
    sums: ColourSums


def add_up(colours: Iterable[ColourSums]) -> SplitColours:
    """Add up the sums of pairs, in their order: sums of floats depend on it."""
    num_pairs = num_pixels = 0
    lab, lab_squared, hues = np.zeros(3), np.zeros(3), np.zeros(HUE_BINS, np.int64)
    for sums in colours:
        num_pairs += 1
        num_pixels += sums.num_pixels
        lab += sums.lab
        lab_squared += sums.lab_squared
        hues += sums.hues
    return SplitColours(
        num_pairs,
        ColourSums(num_pixels=num_pixels, lab=lab, lab_squared=lab_squared, hues=hues),
    )


def colour_table(colours: Mapping[Split, SplitColours]) -> list[dict[str, Any]]:
    """Mean and standard deviation of L*, a*, b*, one row per split: ``colours.csv``."""
    table = []
    for split, (num_pairs, sums) in colours.items():
        num_pixels = max(1, sums.num_pixels)
        mean = sums.lab / num_pixels
        squared = sums.lab_squared / num_pixels
        deviation = np.sqrt(np.maximum(squared - mean**2, 0))
        line: dict[str, Any] = {"split": split, "pairs": num_pairs}
        for name, value, std in zip(LAB_NAMES, mean, deviation, strict=True):
            line[f"{name}_mean"] = round(float(value), 3)
            line[f"{name}_std"] = round(float(std), 3)
        table.append(line)
    return table


def hue_table(colours: Mapping[Split, SplitColours]) -> list[dict[str, Any]]:
    """Share of the coloured pixels, one row per split and hue: ``hues.csv``."""
    table = []
    for split, (_, sums) in colours.items():
        shares = sums.hues / max(1, int(sums.hues.sum()))
        for number, share in enumerate(shares):
            degrees = number * 360 // HUE_BINS
            table.append({"split": split, "hue_degrees": degrees, "share": round(float(share), 5)})
    return table
