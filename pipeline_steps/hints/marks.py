"""Dots and strokes on true pictures, of the colour that lies under each.

Shape legend: N pictures, M marks, S = image size in pixels, P = side of the patch around a mark;
values in −1..1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

MAX_SPREAD = 0.12
"""Standard deviation in 5×5 px up to which a true picture is flat."""
MIN_PAPER = 0.4
"""In −1..1: darker pixels of a sketch are ink, and no hint lies within a pixel of it."""
MAX_DIFFERENCE = 0.15
"""From the colour under its centre: a mark ends where the true picture has another colour."""


class Marks(NamedTuple):
    """M marks on N pictures; a later one covers an earlier one."""

    picture: Tensor
    """M int64: which one it lies on."""
    rows: Tensor
    """M int64: of the centre, in pixels."""
    columns: Tensor
    radius: Tensor
    """M float32, in pixels."""
    length: Tensor
    """Of a stroke, in pixels; 0 is a dot."""
    angle: Tensor
    """Of a stroke, in radians."""


class Covered(NamedTuple):
    """The pixels of each mark, in a patch around its centre."""

    mask: Tensor
    """M×P×P bool; none where the centre is no place for a hint."""
    pixels: Tensor
    """M×P×P int64: their indices in N·S·S."""
    truth: Tensor
    """3×M×P×P: the true colours."""


def find_places(truth: Tensor, sketch: Tensor) -> Tensor:
    """Where a hint can lie: flat in N×3×S×S, off the ink of N×1×S×S → N×S×S bool."""
    around = {"kernel_size": 5, "stride": 1, "padding": 2, "count_include_pad": False}
    mean = functional.avg_pool2d(truth, **around)  # type: ignore[arg-type]
    square = functional.avg_pool2d(truth.square(), **around)  # type: ignore[arg-type]
    is_flat = (square - mean.square()).amax(dim=1) <= MAX_SPREAD**2
    return is_flat & find_paper(sketch)


def find_paper(sketch: Tensor) -> Tensor:
    """Where no ink is within a pixel: N×1×S×S → N×S×S bool."""
    return -functional.max_pool2d(-sketch, 3, stride=1, padding=1)[:, 0] >= MIN_PAPER


def cover(truth: Tensor, paper: Tensor, marks: Marks, *, reach: int) -> Covered:
    """The pixels that marks cover in N×3×S×S pictures, whose paper is N×S×S bool.

    A mark keeps to paper, to the colour under its centre, and to ``reach`` pixels from it, P = 2 ·
    reach + 1. Whole pictures would take as long as the rest of a training step.
    """
    size, device = truth.shape[-1], truth.device
    picture, rows, columns, radius, length, angle = (each.to(device) for each in marks)
    at = torch.arange(-reach, reach + 1, device=device)
    patch_rows, patch_columns = rows[:, None] + at, columns[:, None] + at
    is_inside = ((patch_rows >= 0) & (patch_rows < size))[:, :, None]
    is_inside = is_inside & ((patch_columns >= 0) & (patch_columns < size))[:, None]
    within_rows = patch_rows.clamp(0, size - 1)[:, :, None]
    pixels = (picture[:, None, None] * size + within_rows) * size
    pixels = pixels + patch_columns.clamp(0, size - 1)[:, None]
    colours = truth.transpose(0, 1).flatten(1)[:, pixels]
    under = colours[:, :, reach, reach, None, None]
    mask = ((colours - under).abs() <= MAX_DIFFERENCE).all(dim=0)
    mask &= is_inside & paper.flatten()[pixels] & _is_within(at, radius, length, angle)
    return Covered(mask & mask[:, reach, reach, None, None], pixels, colours)


def _is_within(at: Tensor, radius: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    """M×P×P: whether pixels are at most a radius from the stroke's middle line."""
    down, right = at[:, None].float(), at.float()
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    along, across = right * cosine + down * sine, right * sine - down * cosine
    beyond = (along.abs() - length[:, None, None] / 2).clamp_min(0)
    return beyond.square() + across.square() <= radius.square()[:, None, None]


def colours_under(covered: Covered) -> Tensor:
    """The mean true colour of the pixels of each mark: M×3."""
    sums = (covered.truth * covered.mask).sum(dim=(2, 3))
    return (sums / covered.mask.sum(dim=(1, 2)).clamp_min(1)).T


def paint(covered: Covered, colours: Tensor, num_pictures: int, size: int) -> Tensor:
    """Marks in M×3 colours → hints N×4×S×S: colour times mask, then the mask."""
    numbers = torch.arange(1, len(colours) + 1, device=colours.device)
    numbered = (covered.mask * numbers[:, None, None]).flatten()
    topmost = numbers.new_zeros(num_pictures * size * size)
    topmost.scatter_reduce_(0, covered.pixels.flatten(), numbered, "amax")
    table = functional.pad(colours, (0, 1), value=1.0)
    table = functional.pad(table, (0, 0, 1, 0))  # where there is no mark
    return table[topmost].view(num_pictures, size, size, 4).permute(0, 3, 1, 2)
