"""KID: how far apart two sets of pictures are, without comparing picture with picture.

Bińkowski et al. 2018, arXiv:1801.01401: the squared maximum mean discrepancy of features, by its
unbiased estimator, with a cubic kernel. Theirs are Inception's; these are ST-LPIPS's, so values
compare with no other's. Unlike FID's, its mean doesn't depend on the number of pictures.

Shape legend: N and M pictures of the two sets, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SCALE = 1000.0
"""KID is given in thousandths."""


class Estimate(NamedTuple):
    """A value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@torch.inference_mode()
def features_of(maps: list[Tensor]) -> Tensor:
    """What ST-LPIPS's network makes for N pictures → N×D: each channel's mean."""
    return torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1).double().cpu()


def kid(generated: Tensor, truth: Tensor, *, resamples: int = 500, seed: int = 1) -> Estimate:
    """N×D and M×D features → KID in thousandths, with an interval over both sets.

    Where the bootstrap repeats a picture, its pairs with itself are left out, as they are without
    it. Raises :class:`ValueError` for fewer than two pictures.
    """
    if min(len(generated), len(truth)) < 2:
        raise ValueError(f"need two pictures of each, got {len(generated)} and {len(truth)}")
    within = _kernel(generated, generated).fill_diagonal_(0.0)
    within_truth = _kernel(truth, truth).fill_diagonal_(0.0)
    across = _kernel(generated, truth)

    def estimate(weights: Tensor, truth_weights: Tensor) -> float:
        value = (
            _pair_mean(within, weights)
            + _pair_mean(within_truth, truth_weights)
            - 2 * (weights @ across @ truth_weights) / (weights.sum() * truth_weights.sum())
        )
        return SCALE * float(value)

    random = torch.Generator().manual_seed(seed)
    values = [
        estimate(_resample(len(generated), random), _resample(len(truth), random))
        for _ in range(resamples)
    ]
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.nanquantile(torch.tensor(values, dtype=torch.float64), tails).tolist()
    ones = [torch.ones(len(each), dtype=torch.float64) for each in (generated, truth)]
    return Estimate(estimate(*ones), low, high)


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _pair_mean(kernel: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over pairs of different pictures; the kernel's diagonal is 0."""
    pairs = weights.sum() ** 2 - weights.square().sum()
    return weights @ kernel @ weights / pairs


def _resample(count: int, random: torch.Generator) -> Tensor:
    """How often each of ``count`` pictures is drawn, with replacement."""
    drawn = torch.randint(0, count, (count,), generator=random)
    return torch.bincount(drawn, minlength=count).double()
