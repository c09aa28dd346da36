"""Hints as a training draws them: a function of each pair's seed alone.

A geometric number of dots and short strokes at random places (as Zhang et al. 2017,
arXiv:1705.02999, section 3.2, draw them), and rarely the whole picture. Regions of the first marks
are repainted, in the true picture too: where sketches tell the colours, a generator would learn to
do without hints. No picture is left without: only the part that follows hints learns from these.

Shape legend: N pictures, M marks, S = image size in pixels; values in −1..1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_steps.hints.marks import (
    Marks,
    colours_under,
    cover,
    find_paper,
    find_places,
    paint,
)

DENSE_SHARE = 0.01
"""Of the pictures: they have one at each possible place."""
MEAN_COUNT, MAX_COUNT = 8, 64
RADIUS_PX = (1.0, 4.0)
STROKE_SHARE = 0.5
"""Of the marks: the others are dots."""
MAX_STROKE_PX = 24.0
COLOUR_STD = 0.02
"""Of what a hint's colour differs from the true one, in −1..1."""
REPAINTED_MARKS = 2
"""Of each picture, at most."""
MAX_REGION_DIFFERENCE = 0.3
"""From the colour under a mark, within the region that is repainted with it."""


def draw_hints(truth: Tensor, sketch: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Hints for N×3×S×S true pictures and their N×1×S×S sketches.

    Returns the true pictures, with regions repainted, and the hints, N×4×S×S.
    """
    size = truth.shape[-1]
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    kinds = [float(torch.rand((), generator=draw)) for draw in draws]
    counts = [draw_count(draw) for draw in draws]
    marks = draw_marks(counts, draws, size)
    paper = find_paper(sketch)
    truth = repaint_regions(truth, sketch, paper, marks, draws)
    covered = cover(truth, paper, marks, reach=math.ceil(RADIUS_PX[1] + MAX_STROKE_PX / 2))
    noise = torch.cat(
        [torch.randn(count, 3, generator=draw) for count, draw in zip(counts, draws, strict=True)]
    )
    colours = colours_under(covered) + COLOUR_STD * noise.to(truth.device)
    hints = paint(covered, colours.clamp(-1, 1), len(truth), size)
    for number, kind in enumerate(kinds):
        if kind < DENSE_SHARE:
            one = slice(number, number + 1)
            mask = find_places(truth[one], sketch[one])[:, None].to(truth.dtype)
            hints[one] = torch.cat([truth[one] * mask, mask], dim=1)
    return truth, hints


def repaint_regions(
    truth: Tensor, sketch: Tensor, paper: Tensor, marks: Marks, draws: Sequence[torch.Generator]
) -> Tensor:
    """N×3×S×S with another colour in the regions of the first marks that lie on paper."""
    repainted, papers = truth.clone(), paper.cpu()
    for number, draw in enumerate(draws):
        its = torch.nonzero(marks.picture == number)[:, 0]
        places = zip(marks.rows[its].tolist(), marks.columns[its].tolist(), strict=True)
        on_paper = [place for place in places if papers[number][place]]
        for place in on_paper[:REPAINTED_MARKS]:
            colour = 2 * torch.rand(3, generator=draw) - 1
            repainted[number] = repaint(repainted[number], sketch[number], place, colour)
    return repainted


def repaint(truth: Tensor, sketch: Tensor, place: tuple[int, int], colour: Tensor) -> Tensor:
    """3×S×S with another colour in the region around a place; its shades stay."""
    from scipy import ndimage

    under = truth[:, place[0], place[1], None, None]
    is_like = ((truth - under).abs() <= MAX_REGION_DIFFERENCE).all(dim=0) & (sketch[0] > 0)
    labels, _ = ndimage.label(is_like.cpu().numpy())
    region = torch.from_numpy(labels == labels[place]).to(truth.device)[None]
    # the line's soft edge too, by as much as it is paper
    beside = functional.max_pool2d(region.float(), 3, stride=1, padding=1) * (sketch + 1) / 2
    share = torch.where(region, 1.0, beside)
    return (truth + share * (colour.to(truth.device)[:, None, None] - under)).clamp(-1, 1)


def draw_count(draw: torch.Generator) -> int:
    """A geometric number, at least 1, of mean ``MEAN_COUNT``."""
    share = 1 - float(torch.rand((), generator=draw))
    count = 1 + math.floor(math.log(share) / math.log(1 - 1 / MEAN_COUNT))
    return min(count, MAX_COUNT)


def draw_marks(counts: list[int], draws: Sequence[torch.Generator], size: int) -> Marks:
    """Marks anywhere in the pictures: of those at impossible places nothing will be painted."""
    uniform = torch.cat(
        [torch.rand(count, 6, generator=draw) for count, draw in zip(counts, draws, strict=True)]
    )
    down, right, radius, is_stroke, length, angle = uniform.unbind(dim=1)
    return Marks(
        picture=torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)),
        rows=(down * size).long(),
        columns=(right * size).long(),
        radius=RADIUS_PX[0] + (RADIUS_PX[1] - RADIUS_PX[0]) * radius,
        length=MAX_STROKE_PX * length * (is_stroke < STROKE_SHARE),
        angle=math.pi * angle,
    )
