"""Checks of a running training: finite losses and weights, no collapse."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.networks.generator import save_generator
from pipeline_steps.train.collapse import find_collapse
from pipeline_steps.train.state import Losses, TrainingState

if TYPE_CHECKING:
    from pipeline_steps.params import TrainParams

BEST_FILE = "generator_best.safetensors"
"""In the work folder of a collapsed training: its best generator."""


def require_finite(state: TrainingState, params: "TrainParams") -> None:
    """Raise :class:`TrainingError` if a loss of the running epoch was NaN or infinite."""
    if torch.isfinite(state.loss_sums).all():
        return
    names = Losses._fields
    broken = [
        name
        for name, total in zip(names, state.loss_sums.tolist(), strict=True)
        if total - total != 0
    ]
    raise TrainingError(
        f"train: {' and '.join(broken)} loss is not finite in epoch {state.epoch + 1}, step"
        f" {state.step}; run again to resume from the last checkpoint, which is valid; if it"
        f" recurs, lower train.generator_lr ({params.generator_lr:g}) or train.discriminator_lr"
        f" ({params.discriminator_lr:g}), or set train.precision to float32"
    )


def require_finite_weights(state: TrainingState) -> None:
    """Raise :class:`TrainingError` if a weight is NaN or infinite: no checkpoint may hold one."""
    if not is_finite(state):
        raise TrainingError(
            f"train: a weight is not finite after epoch {state.epoch + 1}, step {state.step}; run"
            " again to resume from the last checkpoint, which is valid; if it recurs, lower"
            " train.generator_lr or train.discriminator_lr"
        )


def is_finite(state: TrainingState) -> bool:
    """Whether all losses and weights are finite."""
    weights = [*state.generator.parameters(), *state.discriminator.parameters()]
    finite = torch.stack([torch.isfinite(tensor).all() for tensor in (state.loss_sums, *weights)])
    return bool(finite.all())


def require_no_collapse(state: TrainingState, params: "TrainParams", work_folder: Path) -> None:
    """Raise :class:`TrainingError` if the GAN has failed; the best generator so far is saved."""
    failure = find_collapse(state.history, gan_loss=params.gan_loss, epochs=params.collapse_epochs)
    if failure is None:
        return
    best = work_folder / BEST_FILE
    save_generator(best, state.generator.architecture, state.best_weights)
    raise TrainingError(
        f"train: stopped after epoch {state.epoch}: {failure}. The best generator, of epoch"
        f" {state.best_epoch}, is kept as {best}; train.collapse_epochs: 0 switches this check off"
    )
