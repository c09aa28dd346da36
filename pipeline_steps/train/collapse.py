"""Has the GAN failed? Told from the history, before more hours are spent on it.

Pix2pix has an L1 loss beside the adversarial one, so a discriminator that wins is no failure by
itself: it is one when the generator gets worse under it. Nor is flat output by itself: a generator
begins with it, and a slow one needs a while to leave it.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from pipeline_steps.train.losses import discriminator_loss

MIN_VARIETY = 0.05
"""Of the true pictures' variety, below which generated ones are all the same or all one colour."""
WON_SHARE = 0.02
"""Of the loss of a discriminator that guesses, below which it's never wrong."""
MAX_WORSENING = 1.1
"""A val L1 this many times the best is worse by more than epochs differ anyway."""
_NO_SPREAD = 1e-6


def find_collapse(
    history: Sequence[Mapping[str, float]], *, gan_loss: str, epochs: int
) -> str | None:
    """Say what has failed in each of the last ``epochs`` epochs, and what to change; else None.

    What has become better than before them has not failed. ``epochs`` 0 asks for nothing. Rows
    need ``epoch``, ``loss_discriminator``, ``val_l1`` and ``val_variety`` (:class:`VarietyMeter`).
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
    """The loss of a discriminator that can't tell: of the best constant answer."""
    undecided = torch.zeros(1)
    if gan_loss == "lsgan":
        undecided += 0.5
    return float(discriminator_loss(gan_loss, undecided, undecided))


class VarietyMeter:
    """How much generated pictures vary, of what the true ones do; fed batch by batch."""

    def __init__(self) -> None:
        self._generated = _Spread()
        self._truth = _Spread()

    def add(self, generated: torch.Tensor, truth: torch.Tensor) -> None:
        """Take K×3×S×S pictures in −1..1, and the true ones."""
        self._generated.add(generated)
        self._truth.add(truth)

    def variety(self) -> float:
        """The lesser ratio of two: within a picture, and from picture to picture.

        1 where the true pictures don't vary either. NaN if a picture held one.
        """
        ratios = [
            made / true if true > _NO_SPREAD else 1.0
            for made, true in zip(self._generated.spreads(), self._truth.spreads(), strict=True)
        ]
        return math.nan if any(map(math.isnan, ratios)) else min(ratios)


class _Spread:
    """Sums from which standard deviations over pixels and over pictures follow."""

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
