"""How much colours vary inside what ink encloses, and how much of them crosses the ink.

A region is a connected area of paper in the sketch. In flat drawings each has about one colour, so
what varies there beyond the truth is a rainbow, a checkerboard or bleeding. Both measures are 0 for
the truth, and for pictures without colour: they say how clean a picture is, not whether it's right.

Shape legend: N pictures, S pixels square, float in −1..1, channels first.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline_steps.scores.metrics import rgb_to_lab

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Array = TypeVar("Array", Float64Array, Int64Array)

MIN_PAPER = 0.6
"""Sketch values above are paper."""
MIN_AREA_SHARE = 1 / 1024
"""Of the picture; smaller regions don't count."""
REACH_SHARES = (4 / 128, 6 / 128, 8 / 128, 10 / 128)
"""Of the side: how far apart two pixels on the two sides of a line may be."""
DEPTH_SHARE = 8 / 128
"""Of the side: how much farther inside is the pixel that one near a line is compared with."""
MIN_CONTRAST = 5.0
"""CIELAB distance of two regions' colours below which nothing is seen to cross."""


class Regions(NamedTuple):
    """The regions of one sketch."""

    labels: Int64Array
    """S×S: k inside region k (from 1), 0 on ink, beside it, and in small regions."""
    number: int
    """How many there are."""


class TrueRegions(NamedTuple):
    """The regions of one sketch, and what its true picture has in them."""

    regions: Regions
    spreads: Float64Array
    """In CIELAB units, of each region, as :func:`region_spreads` has them."""
    crossing_chroma: float
    """In a*b* units, as :func:`crossing_chroma` has it."""


def find_regions(sketch: Tensor) -> list[Regions]:
    """N×1×S×S sketches → the regions of each.

    Pixels beside ink are left out: they are part of the line's soft edge.
    """
    from scipy import ndimage

    paper = sketch > MIN_PAPER
    inside = -functional.max_pool2d(-paper.float(), 3, stride=1, padding=1) > 0
    found = []
    for whole, interior in zip(paper[:, 0].cpu().numpy(), inside[:, 0].cpu().numpy(), strict=True):
        labels, _ = ndimage.label(whole)
        labels = np.where(interior, labels, 0)
        is_large = np.bincount(labels.ravel()) >= MIN_AREA_SHARE * labels.size
        is_large[0] = False
        numbers = np.where(is_large, np.cumsum(is_large), 0)
        found.append(Regions(numbers[labels], int(is_large.sum())))
    return found


def measure_truth(truth: Tensor, sketch: Tensor) -> list[TrueRegions]:
    """N×3×S×S true pictures and their N×1×S×S sketches → what each is compared by."""
    return [
        TrueRegions(regions, region_spreads(lab, regions)[0], crossing_chroma(lab, regions))
        for lab, regions in zip(to_lab(truth), find_regions(sketch), strict=True)
    ]


def scatter_and_leak(generated: Tensor, truths: list[TrueRegions]) -> tuple[Tensor, Tensor]:
    """Score N×3×S×S in the regions of their sketches: scatter and leak, N float32 each.

    Scatter, in CIELAB units: each region's root mean square distance from its mean colour, less
    that of the truth, at least 0; the mean over the pixels of all regions. Leak, in a*b* units: how
    far pixels near a line have the colour of the region beyond it (see :func:`crossing_chroma`),
    less that of the truth. A sketch without regions, or with one, has none to measure: 0.
    """
    scores = [
        (
            scatter_of(lab, truth),
            max(0.0, crossing_chroma(lab, truth.regions) - truth.crossing_chroma),
        )
        for lab, truth in zip(to_lab(generated), truths, strict=True)
    ]
    scatter, leak = torch.tensor(scores).reshape(-1, 2).unbind(dim=1)
    return scatter, leak


def to_lab(pictures: Tensor) -> Float64Array:
    """N×3×S×S in −1..1 → N×S×S×3 CIELAB."""
    lab: Float64Array = rgb_to_lab(pictures.double()).permute(0, 2, 3, 1).cpu().numpy()
    return lab


def scatter_of(lab: Float64Array, truth: TrueRegions) -> float:
    """How much more S×S×3 CIELAB vary inside the regions than the truth does."""
    spreads, sizes = region_spreads(lab, truth.regions)
    excess = np.maximum(spreads - truth.spreads, 0)
    return float((excess * sizes).sum() / max(sizes.sum(), 1))


def region_spreads(lab: Float64Array, regions: Regions) -> tuple[Float64Array, Float64Array]:
    """Root mean square distance from the mean colour, and the pixels, of each region."""
    means, sizes = region_means(lab, regions)
    squares = np.square(lab - means[regions.labels]).sum(axis=-1, keepdims=True)
    variances, _ = region_means(squares, regions)
    return np.sqrt(variances[1:, 0]), sizes[1:]


def region_means(values: Float64Array, regions: Regions) -> tuple[Float64Array, Float64Array]:
    """S×S×C → the mean of each label (count+1)×C, that of label 0 too, and its pixels."""
    labels, length = regions.labels.ravel(), regions.number + 1
    sizes = np.bincount(labels, minlength=length).astype(np.float64)
    channels = values.reshape(len(labels), -1).T
    sums = np.stack([np.bincount(labels, channel, length) for channel in channels], axis=1)
    return sums / np.maximum(sizes, 1)[:, None], sizes


def crossing_chroma(lab: Float64Array, regions: Regions) -> float:
    """How far pixels near a line are moved towards the colour beyond it: a mean, in a*b* units.

    A pixel near a line has another region at most ``REACH_SHARES`` away, straight across. Its
    difference from a pixel ``DEPTH_SHARE`` farther inside (or from the region's mean, where that
    lies outside) is projected on the way from its region's mean to the other's, and averaged over
    each pair of regions: one whose colours vary everywhere leaks little.
    """
    chroma, labels = lab[..., 1:], regions.labels
    means, _ = region_means(chroma, regions)
    depth = max(1, round(DEPTH_SHARE * len(labels)))
    owns, others, moves = [], [], []
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        beyond = label_beyond(labels, axis, sign)
        is_deep = move(labels, axis, -sign * depth) == labels
        inside = np.where(is_deep[..., None], move(chroma, axis, -sign * depth), means[labels])
        near = beyond > 0
        owns.append(labels[near])
        others.append(beyond[near])
        moves.append((chroma - inside)[near])
    own, other, moved = np.concatenate(owns), np.concatenate(others), np.concatenate(moves)
    way = means[other] - means[own]
    contrast = np.linalg.norm(way, axis=1)
    seen = contrast > MIN_CONTRAST
    projected = (moved * way).sum(axis=1)[seen] / contrast[seen]
    pair = (own * (regions.number + 1) + other)[seen]
    of_pairs = np.bincount(pair, projected) if len(pair) else np.zeros(1)
    return float(np.maximum(of_pairs, 0).sum() / max(len(pair), 1))


def label_beyond(labels: Int64Array, axis: int, sign: int) -> Int64Array:
    """For each pixel the nearest other region in one direction within reach; 0 if there's none."""
    beyond = np.zeros_like(labels)
    for share in REACH_SHARES:
        reached = move(labels, axis, sign * max(1, round(share * len(labels))))
        is_other = (labels > 0) & (reached > 0) & (reached != labels) & (beyond == 0)
        beyond[is_other] = reached[is_other]
    return beyond


def move(values: Array, axis: int, distance: int) -> Array:
    """The value ``distance`` pixels further along an axis; 0 beyond the border."""
    moved = np.zeros_like(values)
    size = values.shape[axis]
    near, far = slice(0, size - abs(distance)), slice(abs(distance), size)
    to, from_ = (near, far) if distance > 0 else (far, near)
    np.moveaxis(moved, axis, 0)[to] = np.moveaxis(values, axis, 0)[from_]
    return moved
