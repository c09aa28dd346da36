"""What changes from epoch to epoch: the learning rate, line styles, hints, and whether the loss is
adversarial.
"""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pipeline_steps.params import TrainParams


def learning_rate_scale(epoch: int, params: "TrainParams") -> float:
    """Factor of an epoch (from 0): 1, then linearly to 0 over the last ``lr_decay_fraction``."""
    decay_epochs = params.lr_decay_fraction * params.epochs
    remaining = params.epochs - epoch
    return min(1.0, remaining / (decay_epochs + 1.0)) if decay_epochs else 1.0


def is_adversarial(epoch: int, params: "TrainParams") -> bool:
    """Whether an epoch (from 0) trains the discriminator, and the generator against it.

    The first ``adversarial_start_fraction`` of the epochs train the generator by L1 alone.
    """
    return epoch >= round(params.adversarial_start_fraction * params.epochs)


def line_style_share(epoch: int, params: "TrainParams") -> float:
    """The share of an epoch's (from 0) sketches that are redrawn in other line styles.

    None in the first ``line_styles_start_fraction`` of the epochs: what the pairs say is learned
    first, and faster.
    """
    started = epoch >= round(params.line_styles_start_fraction * params.epochs)
    return params.line_styles if started else 0.0


def draws_hints(epoch: int, params: "TrainParams") -> bool:
    """Whether pictures have hints in an epoch (from 0), if the generator takes them.

    None in the first ``hints_start_fraction`` of the epochs: to colour without any is learned
    first. The last epoch always has some.
    """
    start = min(round(params.hints_start_fraction * params.epochs), params.epochs - 1)
    return params.hints != "none" and epoch >= start


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
