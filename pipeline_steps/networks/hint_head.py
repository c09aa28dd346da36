"""The part of the generator that follows hints: it changes a coloured picture, and nothing else.

It is given the U-Net's picture. Each hint's colour, and the colour that the picture has there, flow
over the paper around it, which needs no weights and reaches the far end of a region. A small
network then decides pixel by pixel how far to follow. Where no hint arrives the picture stays as it
is, bit for bit: without hints a generator is as good as one that never saw any.

Shape legend: N pictures, S = image size in pixels, C planes, channels first, values in −1..1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

FLOW_SIDE_PX = 64
FINE_STEPS, COARSE_STEPS = 16, 48
"""Pixels that colours flow at that side, through narrow places, and before at half of it, far."""
COARSE_SHARE = 1e-12
"""Of what arrives by the coarse way: less than any that does by the fine way."""
LEAST = 1e-30
"""Of a hint: where less arrives, it is none. A float32 holds 1e-38."""
MIN_PAPER = 0.15
"""In −1..1: colours don't pass what is darker."""
WIDTH = 16
DILATIONS = (1, 2, 4)
INITIAL_BIAS = 2.0
"""A head that knows nothing follows hints."""


class HintHead(nn.Module):
    """Picture, sketch and hints → picture."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3 + 3 + 3 + 1 + 1 + 1
        layers: list[nn.Module] = []
        for dilation in DILATIONS:
            layers += [
                nn.Conv2d(channels, WIDTH, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
            ]
            channels = WIDTH
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTH, 2, 3, padding=1))

    def forward(self, picture: Tensor, sketch: Tensor, hints: Tensor) -> Tensor:
        """Change N×3×S×S pictures of N×1×S×S sketches by N×4×S×S hints: N×3×S×S.

        The mask is divided out of hints: one that is much smaller than a pixel counts like any.
        Where it is negative, and colours are 0, nothing flows, whatever the sketch has there.
        """
        mask = hints[:, 3:].clamp_min(0)
        with torch.no_grad():
            given = torch.cat([hints[:, :3], picture * mask, mask], dim=1)
            arrived, nearness = spread(given, sketch, closed=hints[:, 3:] < 0)
        has_arrived = (nearness > 0).to(picture.dtype)
        wanted, there = arrived[:, :3], arrived[:, 3:]
        difference = picture - there
        is_hint = (mask > 0).to(picture.dtype)
        seen = [picture, wanted * has_arrived, difference * has_arrived, nearness, is_hint, sketch]
        decided = self.layers(torch.cat(seen, dim=1)).float()
        follow = torch.sigmoid(decided[:, :1] + INITIAL_BIAS) * has_arrived
        # how far shades of the region, as the picture has them, stay
        shade = torch.sigmoid(-decided[:, 1:])
        changed = picture + follow * (wanted + shade * difference - picture)
        return torch.where(has_arrived > 0, changed.clamp(-1, 1), picture)


def spread(given: Tensor, sketch: Tensor, *, closed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """N×C×S×S values times mask, then the mask → what arrives where.

    ``closed``: N×1×S×S bool, where nothing flows, as if it were ink.
    Returns N×(C−1)×S×S values, the mask divided out, and the nearness of their hints, N×1×S×S: 0
    where nothing arrives, at most about 1.
    """
    factor = max(1, given.shape[-1] // FLOW_SIDE_PX)
    # all or nothing: shares of less than 1 would soon be denormal numbers, which are slow
    is_paper = sketch >= MIN_PAPER
    if closed is not None:
        is_paper = is_paper & ~closed
    paper = _darkest(is_paper.to(given.dtype), factor)
    coarse_paper = _darkest(paper, 2)
    fine = functional.avg_pool2d(given, factor)
    far = flow(functional.avg_pool2d(fine, 2), coarse_paper, COARSE_STEPS)
    far = torch.where(far[:, -1:] > LEAST, far / far[:, -1:].clamp_min(LEAST), 0.0)
    moved = flow(
        fine + COARSE_SHARE * functional.interpolate(far, scale_factor=2.0), paper, FINE_STEPS
    )
    # onto the line's soft edge, where the reduced paper ends early
    beside = functional.avg_pool2d(moved, 3, stride=1, padding=1)
    moved = torch.where(moved[:, -1:] > 0, moved, beside)
    share = moved[:, -1:].clamp_min(LEAST)
    nearness = (share / LEAST).log10() / 30
    seen = torch.cat([moved[:, :-1] / share, nearness], dim=1)
    if factor > 1:
        seen = functional.interpolate(seen, scale_factor=float(factor))
    return seen[:, :-1], seen[:, -1:]


def flow(planes: Tensor, paper: Tensor, num_steps: int) -> Tensor:
    """Let N×C×S×S spread by a pixel a step over the paper, N×1×S×S of 0 and 1.

    In each step a pixel becomes the mean of itself and its neighbours, along rows, then along
    columns. What comes far arrives weak, so that of several hints the nearest counts most.
    """
    weights = (paper / 3).repeat(1, planes.shape[1], 1, 1)  # as large: broadcasting is slower
    moving = planes * paper
    for _ in range(num_steps):
        wide = functional.pad(moving, (1, 1))
        moving = (wide[..., :-2] + moving + wide[..., 2:]) * weights
        tall = functional.pad(moving, (0, 0, 1, 1))
        moving = (tall[..., :-2, :] + moving + tall[..., 2:, :]) * weights
    return moving


def _darkest(paper: Tensor, factor: int) -> Tensor:
    """Reduced by a factor: what contains ink is ink."""
    return -functional.max_pool2d(-paper, factor)
