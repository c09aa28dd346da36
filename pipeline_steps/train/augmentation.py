"""Random jitter of pix2pix: scale up, crop, mirror (paper, section 6.2), once for both halves; and
sketches in other line styles; hints.

Every draw is a function of (seed, epoch) alone, so that a resumed training sees the same pictures.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_steps.hints.in_training import draw_hints
from pipeline_steps.pairs.packed import COLOUR, SKETCH
from pipeline_steps.train.line_styles import redraw

HINTS, REPAINTED = slice(4, 8), slice(8, 11)
"""Channels of a batch with hints, after those of packed pairs: colour times mask, the mask; the
true pictures, with regions repainted in colours that hints say."""
_OF_HINTS = 1  # so that a pair's hints and its line style are drawn apart


@dataclass(frozen=True)
class EpochPlan:
    """The order of an epoch's pairs, and the augmentation of each; index k is the k-th pair."""

    seed: int
    epoch: int
    order: Tensor
    """N int64: indices of pairs."""
    corners: Tensor
    """N×2 int64: top and left of the crop in the scaled-up picture, in pixels."""
    mirrored: Tensor
    """N bool."""


def plan_epoch(
    *,
    seed: int,
    epoch: int,
    num_pairs: int,
    load_size: int,
    image_size: int,
    flip: bool,
    shard_pairs: int = 0,
    shuffle_shards: int = 0,
) -> EpochPlan:
    """Draw an epoch: the same arguments give the same plan on every machine.

    See :func:`shuffle` for its order.
    """
    random = torch.Generator().manual_seed(mix_seed(seed, epoch))
    return EpochPlan(
        seed=seed,
        epoch=epoch,
        order=shuffle(num_pairs, shard_pairs, shuffle_shards, random),
        corners=torch.randint(0, load_size - image_size + 1, (num_pairs, 2), generator=random),
        mirrored=(torch.rand(num_pairs, generator=random) < 0.5) & flip,
    )


def shuffle(
    num_pairs: int, shard_pairs: int, shuffle_shards: int, random: torch.Generator
) -> Tensor:
    """A permutation of ``num_pairs`` rows that lie in shards of ``shard_pairs``.

    The shards are permuted, then the pairs of each ``shuffle_shards`` of them together: whoever
    reads them in this order needs no others meanwhile. 0 for either: all pairs together.
    """
    shard_pairs = shard_pairs or num_pairs
    num_shards = -(-num_pairs // shard_pairs)
    if not shuffle_shards or shuffle_shards >= num_shards:
        return torch.randperm(num_pairs, generator=random)
    order = torch.empty(num_pairs, dtype=torch.int64)
    start = 0
    for window in torch.randperm(num_shards, generator=random).split(shuffle_shards):
        rows = (window[:, None] * shard_pairs + torch.arange(shard_pairs)).flatten()
        rows = rows[rows < num_pairs]  # the last shard may be smaller
        end = start + len(rows)
        order[start:end] = rows[torch.randperm(len(rows), generator=random)]
        start = end
    return order


def augment(
    pairs: Tensor,
    plan: EpochPlan,
    chosen: slice,
    *,
    load_size: int,
    redrawn_share: float,
    with_hints: bool = False,
) -> Tensor:
    """Jitter the plan's ``chosen`` N×4×S×S pairs in −1..1, and redraw a share of their sketches.

    With hints: N×11×S×S, see ``HINTS``.
    """
    pairs = jitter(pairs, plan.corners[chosen], plan.mirrored[chosen], load_size)
    numbers = range(chosen.start, chosen.stop)
    if with_hints:
        seeds = [mix_seed(plan.seed, plan.epoch, number, _OF_HINTS) for number in numbers]
        repainted, hints = draw_hints(pairs[:, COLOUR], pairs[:, SKETCH], seeds)
        pairs = torch.cat([pairs, hints, repainted], dim=1)
    if redrawn_share:
        seeds = [mix_seed(plan.seed, plan.epoch, number) for number in numbers]
        pairs[:, SKETCH] = redraw(pairs[:, SKETCH], seeds, redrawn_share)
    return pairs


def jitter(pairs: Tensor, corners: Tensor, mirrored: Tensor, load_size: int) -> Tensor:
    """Scale N×C×S×S pairs up to ``load_size``, crop S×S at ``corners``, mirror if ``mirrored``."""
    size = pairs.shape[-1]
    if load_size != size:
        scaled = functional.interpolate(pairs, size=(load_size, load_size), mode="bilinear")
        pairs = torch.stack(
            [
                picture[:, top : top + size, left : left + size]
                for picture, (top, left) in zip(scaled, corners.tolist(), strict=True)
            ]
        )
    flips = mirrored.to(pairs.device)[:, None, None, None]
    return torch.where(flips, pairs.flip(-1), pairs)


def mix_seed(*parts: int) -> int:
    """Hash integers to one 63-bit seed (splitmix64, Steele et al. 2014)."""
    mixed = 0
    for part in parts:
        mixed = (mixed + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed >> 1
