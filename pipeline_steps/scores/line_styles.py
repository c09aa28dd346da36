"""Sketches redrawn in other line styles: what an artist's pen does, and the pairs' sketches don't.

Evaluation draws each of :data:`STYLES`, training draws at random (``train/line_styles.py``). Ink is
1 − paper: 0 is paper, 1 is black. Shape legend: N sketches, S pixels square; N×1×S×S.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from colorizer.base.pixels import to_pixel_range

FINE = 4
"""Lines are widened and narrowed at so many times the size, since they are a pixel or two wide."""
PENCIL_DENSITY = 0.45
"""Of a grey pencil: the model sees no other difference to black ink."""
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


def widen(ink: Tensor) -> Tensor:
    """Lines about one pixel thicker."""
    fine = functional.interpolate(ink, scale_factor=FINE, mode="bilinear")
    return functional.avg_pool2d(functional.max_pool2d(fine, 5, stride=1, padding=2), FINE)


def narrow(ink: Tensor) -> Tensor:
    """Lines about half a pixel thinner."""
    fine = functional.interpolate(ink, scale_factor=FINE, mode="bilinear")
    return functional.avg_pool2d(-functional.max_pool2d(-fine, 3, stride=1, padding=1), FINE)


def add_noise(ink: Tensor, std: float, random: torch.Generator) -> Tensor:
    """Grain on lines and paper."""
    return ink + std * torch.randn(ink.shape, generator=random).to(ink.device)


def leave_gaps(ink: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Squares of 1, 2, 3 and 4 px erased, together at ``share`` of the lines' pixels."""
    for side_px in range(1, 5):
        ink = erase(ink, side_px, share / 4, random)
    return ink


def erase(ink: Tensor, side_px: int, share: float, random: torch.Generator) -> Tensor:
    """Squares of one size erased, at ``share`` of the lines' pixels."""
    chance = torch.rand(ink.shape, generator=random).to(ink.device)
    centres = ((ink > MIN_INK) & (chance < share)).to(ink.dtype)
    padded = functional.pad(centres, (side_px // 2, (side_px - 1) // 2) * 2)
    return ink * (1 - functional.max_pool2d(padded, side_px, stride=1))


def blur(ink: Tensor, sigma_px: float) -> Tensor:
    """Out of focus: a Gaussian."""
    distance = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1, device=ink.device)
    weights = torch.exp(-(distance**2) / (2 * sigma_px**2))
    weights = weights / weights.sum()
    padded = functional.pad(ink, (BLUR_RADIUS_PX,) * 4, mode="replicate")
    blurred = functional.conv2d(padded, weights.view(1, 1, -1, 1))
    return functional.conv2d(blurred, weights.view(1, 1, 1, -1))


def blur_right_half(ink: Tensor, sigma_px: float) -> Tensor:
    """The right half out of focus."""
    half = ink.shape[-1] // 2
    return torch.cat([ink[..., :half], blur(ink, sigma_px)[..., half:]], dim=-1)


STYLES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "thicker": lambda ink, random: widen(ink),
    "thinner": lambda ink, random: narrow(ink),
    "pencil": lambda ink, random: ink * PENCIL_DENSITY,
    "blue": lambda ink, random: ink * BLUE_DENSITY,
    "noisy": lambda ink, random: add_noise(ink, NOISE_STD, random),
    "gaps": lambda ink, random: leave_gaps(ink, GAP_SHARE, random),
    "half_blurred": lambda ink, random: blur_right_half(ink, BLUR_SIGMA_PX),
}
