"""Sketches redrawn in random line styles, so that the generator knows more pens than its pairs do.

Whoever trains on one style overfits to it: a grey pencil alone more than doubled the error. Shape
legend: N sketches, S pixels square; N×1×S×S in −1..1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_steps.scores.line_styles import add_noise, blur, erase

WIDTH_CHANCE, BLUR_CHANCE, GAPS_CHANCE, DENSITY_CHANCE, NOISE_CHANCE = 0.6, 0.35, 0.3, 0.2, 0.3
"""Of each change in a redrawn sketch, apart from the others; it may have several."""
MAX_NARROWING = 0.7
"""Of what a minimum over 3×3 px takes away: all of it would leave nothing of thin lines."""
MIN_DENSITY = 0.35
"""Of the ink that was there."""
MAX_NOISE_STD = 0.09
"""Of black."""
MAX_GAP_SHARE, MAX_GAP_PX = 0.02, 4
"""Of the lines' pixels, as many gaps; their side."""
BLUR_SIGMA_PX = (0.5, 1.8)


def redraw(sketches: Tensor, seeds: Sequence[int], share: float) -> Tensor:
    """Redraw about ``share`` of N×1×S×S sketches; a style is a function of its sketch's seed.

    Raises :class:`ValueError` if there aren't as many seeds as sketches.
    """
    styled = [
        _redraw(sketch[None], torch.Generator().manual_seed(seed), share)
        for sketch, seed in zip(sketches, seeds, strict=True)
    ]
    return torch.cat(styled) if styled else sketches


def _redraw(sketch: Tensor, random: torch.Generator, share: float) -> Tensor:
    if _uniform(random) >= share:
        return sketch
    ink = (1 - sketch) / 2
    if _uniform(random) < WIDTH_CHANCE:
        ink = _change_width(ink, random)
    if _uniform(random) < BLUR_CHANCE:
        ink = _blur_a_side(ink, random)
    if _uniform(random) < GAPS_CHANCE:
        side_px = int(torch.randint(1, MAX_GAP_PX + 1, (), generator=random))
        ink = erase(ink, side_px, MAX_GAP_SHARE * _uniform(random), random)
    if _uniform(random) < DENSITY_CHANCE:
        ink = ink * _uniform(random, MIN_DENSITY, 1.0)
    if _uniform(random) < NOISE_CHANCE:
        ink = add_noise(ink, MAX_NOISE_STD * _uniform(random), random)
    return 1 - 2 * ink.clamp(0, 1)


def _change_width(ink: Tensor, random: torch.Generator) -> Tensor:
    """Up to 2 px thicker, or about a pixel thinner."""
    if _uniform(random) < 0.5:
        return ink.lerp(functional.max_pool2d(ink, 3, 1, 1), _uniform(random))
    thinnest = -functional.max_pool2d(-ink, 3, 1, 1)
    return ink.lerp(thinnest, MAX_NARROWING * _uniform(random))


def _blur_a_side(ink: Tensor, random: torch.Generator) -> Tensor:
    """Everything on one side of a line across the sketch, at any angle, out of focus."""
    size = ink.shape[-1]
    angle = torch.tensor(_uniform(random, 0, 2 * torch.pi))
    place = torch.linspace(-0.5, 0.5, size)
    distance = place[:, None] * angle.sin() + place * angle.cos()
    side = (distance > _uniform(random, -0.5, 0.5)).to(ink.device)
    return torch.where(side, blur(ink, _uniform(random, *BLUR_SIGMA_PX)), ink)


def _uniform(random: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))
