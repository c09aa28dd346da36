"""Detects a failed GAN from the history, so that a training is stopped early.

Pix2pix has an L1 loss besides the adversarial one, so a discriminator whose loss is near 0 is a
failure only if the generator gets worse as well. Nor is constant output always one: every generator
starts with it, and a slowly learning one takes some epochs to leave it.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from pipeline_steps.train.losses import discriminator_loss

MIN_VARIETY = 0.05
"""Ratio of generated to true variety below which pictures are all the same, or of one colour."""
WON_SHARE = 0.02
"""Ratio of the discriminator's loss to that of guessing below which it is never wrong."""
MAX_WORSENING = 1.1
"""Ratio of val L1 to the best one above which it is worse by more than epochs usually differ."""
_NO_SPREAD = 1e-6


def find_collapse(
    history: Sequence[Mapping[str, float]], *, gan_loss: str, epochs: int
) -> str | None:
    """What has failed in each of the last ``epochs`` epochs, and what to change; None if nothing.

    A training whose val L1 has improved in these epochs has not failed. ``epochs`` 0 switches the
    check off. Rows need ``epoch``, ``loss_discriminator``, ``val_l1`` and ``val_variety``
    (:class:`VarietyMeter`).
    """
    if not epochs or len(history) <= epochs:
        return None
    before, last = history[:-epochs], history[-epochs:]
    best = min(before, key=lambda row: row["val_l1"])
    if min(row["val_l1"] for row in last) < best["val_l1"]:
        return None
    if all(row["val_variety"] < MIN_VARIETY for row in last):
        return (
            f"the generator's output has been nearly constant for {epochs} epochs (it varies"
            f" {last[-1]['val_variety']:.3f} times as much as the true pictures): lower"
            " train.generator_lr, or raise train.l1_weight"
        )
    won = all(row["loss_discriminator"] < WON_SHARE * guessing_loss(gan_loss) for row in last)
    if won and all(row["val_l1"] > MAX_WORSENING * best["val_l1"] for row in last):
        return (
            f"the discriminator has won for {epochs} epochs (its loss is"
            f" {last[-1]['loss_discriminator']:.2g}, guessing gives {guessing_loss(gan_loss):.2g})"
            f" and val L1 has gone from {best['val_l1']:.3f} in epoch {best['epoch']:.0f} to"
            f" {last[-1]['val_l1']:.3f}: lower train.discriminator_lr, or raise train.l1_weight"
        )
    return None


def guessing_loss(gan_loss: str) -> float:
    """The loss of a discriminator whose output is the best constant."""
    undecided = torch.zeros(1)
    if gan_loss == "lsgan":
        undecided += 0.5
    return float(discriminator_loss(gan_loss, undecided, undecided))


class VarietyMeter:
    """Ratio of the variety of generated pictures to that of true ones, batch by batch."""

    def __init__(self) -> None:
        self._generated = _Spread()
        self._truth = _Spread()

    def add(self, generated: torch.Tensor, truth: torch.Tensor) -> None:
        """Add K×3×S×S generated pictures and the true ones, both float in −1..1."""
        self._generated.add(generated)
        self._truth.add(truth)

    def variety(self) -> float:
        """The smaller of two ratios of standard deviations: within and between pictures.

        1 where the true pictures don't vary either; NaN if a picture holds NaN.
        """
        ratios = [
            made / true if true > _NO_SPREAD else 1.0
            for made, true in zip(self._generated.spreads(), self._truth.spreads(), strict=True)
        ]
        return math.nan if any(map(math.isnan, ratios)) else min(ratios)


class _Spread:
    """Running sums for standard deviations over pixels and over pictures."""

    def __init__(self) -> None:
        self.count = 0
        self.within = 0.0
        self.sums = torch.zeros(1, dtype=torch.float64)
        self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, pictures: torch.Tensor) -> None:
        values = pictures.double()
        self.count += len(values)
        self.within += float(values.flatten(1).std(dim=1).sum())
        self.sums = self.sums.to(values.device) + values.sum(dim=0)
        self.squares = self.squares.to(values.device) + values.square().sum(dim=0)

    def spreads(self) -> tuple[float, float]:
        """The mean standard deviation within a picture, and that of a pixel over pictures."""
        mean = self.sums / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        return self.within / self.count, float(variance.sqrt().mean())
