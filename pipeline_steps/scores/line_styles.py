"""Sketches redrawn in other line styles: what an artist's pen does, and training pictures don't.

Ink is 1 − paper: 0 is paper, 1 is black. Shape legend: N sketches, S pixels square; N×1×S×S.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from colorizer.base.pixels import to_pixel_range

FINE = 4
"""Lines are widened and narrowed at so many times the size, since they are a pixel or two wide."""
PENCIL_DENSITY = 0.45
BLUE_DENSITY = 0.57
"""Of a blue pencil, sRGB (70, 110, 220), as grey: 1 − its luma."""
NOISE_STD = 0.06
GAP_SHARE = 0.02
"""Of the ink's pixels; a gap of 1 to 4 px is at each."""
MIN_INK = 0.3
BLUR_SIGMA_PX, BLUR_RADIUS_PX = 1.5, 4


def draw_styles(sketch: Tensor, *, seed: int) -> dict[str, Tensor]:
    """Each style of :data:`STYLES`: N×1×S×S in −1..1 → N×1×S×S in −1..1, by name.

    Noise and gaps are drawn from ``seed``, the same for equal shapes. Raises :class:`ValueError`
    for another shape.
    """
    if sketch.ndim != 4 or sketch.shape[1] != 1:
        raise ValueError(f"need N×1×S×S, got {tuple(sketch.shape)}")
    ink = 1 - to_pixel_range(sketch.cpu()) / 255
    drawn = {}
    for number, (name, style) in enumerate(STYLES.items()):
        random = torch.Generator().manual_seed(seed + number)
        drawn[name] = (1 - 2 * style(ink, random).clamp(0, 1)).to(sketch.device)
    return drawn


def widen(ink: Tensor, random: torch.Generator) -> Tensor:
    """Lines about one pixel thicker."""
    fine = functional.interpolate(ink, scale_factor=FINE, mode="bilinear")
    return functional.avg_pool2d(functional.max_pool2d(fine, 5, stride=1, padding=2), FINE)


def narrow(ink: Tensor, random: torch.Generator) -> Tensor:
    """Lines about half a pixel thinner."""
    fine = functional.interpolate(ink, scale_factor=FINE, mode="bilinear")
    return functional.avg_pool2d(-functional.max_pool2d(-fine, 3, stride=1, padding=1), FINE)


def lighten(ink: Tensor, random: torch.Generator) -> Tensor:
    """A grey pencil."""
    return ink * PENCIL_DENSITY


def draw_in_blue(ink: Tensor, random: torch.Generator) -> Tensor:
    """A blue pencil, which the model sees as grey."""
    return ink * BLUE_DENSITY


def add_noise(ink: Tensor, random: torch.Generator) -> Tensor:
    """Grain on lines and paper."""
    return ink + NOISE_STD * torch.randn(ink.shape, generator=random)


def leave_gaps(ink: Tensor, random: torch.Generator) -> Tensor:
    """Squares of 1 to 4 px erased on the lines."""
    chance = torch.rand(ink.shape, generator=random)
    sides = torch.randint(1, 5, ink.shape, generator=random)
    centres = (ink > MIN_INK) & (chance < GAP_SHARE)
    result = ink
    for side in range(1, 5):
        chosen = (centres & (sides == side)).float()
        padded = functional.pad(chosen, (side // 2, (side - 1) // 2) * 2)
        result = result * (1 - functional.max_pool2d(padded, side, stride=1))
    return result


def blur_half(ink: Tensor, random: torch.Generator) -> Tensor:
    """The right half out of focus."""
    distance = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1)
    weights = torch.exp(-(distance**2) / (2 * BLUR_SIGMA_PX**2))
    weights = weights / weights.sum()
    padded = functional.pad(ink, (BLUR_RADIUS_PX,) * 4, mode="replicate")
    blurred = functional.conv2d(padded, weights.view(1, 1, -1, 1))
    blurred = functional.conv2d(blurred, weights.view(1, 1, 1, -1))
    half = ink.shape[-1] // 2
    return torch.cat([ink[..., :half], blurred[..., half:]], dim=-1)


STYLES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "thicker": widen,
    "thinner": narrow,
    "pencil": lighten,
    "blue": draw_in_blue,
    "noisy": add_noise,
    "gaps": leave_gaps,
    "half_blurred": blur_half,
}
