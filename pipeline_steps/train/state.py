"""The state of a training: networks, optimizers, counters; saved and restored.

Shape legend: S = image size in pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import TrainingError
from pipeline_steps.networks.discriminator import Discriminator
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.train.checkpoint import (
    NUM_KEPT,
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    tensors_under,
)
from pipeline_steps.train.compilation import choose_compile, compile_network
from pipeline_steps.train.optimizer import MemoryOrderAdam

if TYPE_CHECKING:
    from pipeline_steps.params import TrainParams

SELECTION_METRIC = "l1"

HINTED = "val_hinted_l1"
"""In the history: L1 on val with hints; NaN in epochs without. Missing if none are taken."""
EpochRow = dict[str, float]
"""One line of the history: epoch, seen_images, losses, val metrics, learning rate, speed."""


class Losses(NamedTuple):
    """One step's losses, scalars on the device."""

    discriminator: Tensor
    adversarial: Tensor
    l1: Tensor
    hinted: Tensor
    """L1 of the pictures changed by hints; 0 without any."""


@dataclass
class TrainingState:
    """All that a checkpoint holds."""

    generator: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    run_generator: Callable[..., Tensor]
    """The generator as a training step calls it: itself, or compiled."""
    run_discriminator: Callable[[Tensor, Tensor], Tensor]
    loss_sums: Tensor
    """Sums of :class:`Losses` over the running epoch: 4 float32 on the device."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the running epoch."""
    seen_images: int = 0
    history: list[EpochRow] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """The epoch (from 1) with the best val score; 0 before the first.

        Once there are epochs with hints, one of these: before, nothing was learned of them.
        """
        if not self.history:
            return 0
        with_hints = [row for row in self.history if not math.isnan(row.get(HINTED, math.nan))]
        rows = with_hints or self.history
        return int(min(rows, key=lambda row: row[f"val_{SELECTION_METRIC}"])["epoch"])


def build_state(params: "TrainParams", image_size: int, device: torch.device) -> TrainingState:
    """Both networks, initialized from the seed, and their optimizers."""
    torch.manual_seed(params.seed)
    architecture = GeneratorArchitecture(
        image_size=image_size,
        width=params.generator_width,
        normalization=params.normalization,
        darken_ink=params.darken_ink,
        upsampling=params.upsampling,
        bottleneck_px=params.bottleneck_px,
        dropout=params.dropout,
        hints=params.hints,
    )
    discriminator = Discriminator(
        width=params.discriminator_width,
        num_layers=params.discriminator_layers,
        normalization=params.normalization,
    )
    generator = Generator(architecture)
    for network in (generator, discriminator):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=build_optimizer(generator, params),
        discriminator_optimizer=build_optimizer(discriminator, params),
        run_generator=generator,
        run_discriminator=discriminator,
        loss_sums=torch.zeros(len(Losses._fields), device=device),
    )


def compile_networks(
    state: TrainingState, params: "TrainParams", device: torch.device, *, run_images: int
) -> None:
    """Have training steps call compiled networks, where :func:`choose_compile` says so."""
    if choose_compile(params.compile, device, run_images):
        state.run_generator = compile_network(state.generator)
        state.run_discriminator = compile_network(state.discriminator)


def build_optimizer(network: torch.nn.Module, params: "TrainParams") -> torch.optim.Optimizer:
    """Adam over all of a network; the learning rate is set every epoch."""
    betas = (params.adam_beta1, params.adam_beta2)
    return MemoryOrderAdam(network.parameters(), lr=1.0, betas=betas)


def snapshot(generator: Generator) -> dict[str, Tensor]:
    """A copy of a generator's weights, on CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in generator.state_dict().items()}


def require_space_for_checkpoints(state: TrainingState, work_folder: Path) -> None:
    """Raise :class:`DiskSpaceError` if the training's checkpoints won't fit on the disk.

    Each holds weights and Adam's two moments of both networks, and the best generator's weights.
    """
    generator, discriminator = (
        sum(weight.nbytes for weight in network.parameters())
        for network in (state.generator, state.discriminator)
    )
    missing = NUM_KEPT + 1 - min(NUM_KEPT, len(list_checkpoints(work_folder)))
    require_disk_space(work_folder, missing * (4 * generator + 3 * discriminator), "checkpoints")


def save(state: TrainingState, work_folder: Path, fingerprint: str) -> None:
    """Write a checkpoint of ``state``."""
    tensors = {"loss_sums": state.loss_sums}
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"best.{key}": value for key, value in state.best_weights.items()}
    tensors |= optimizer_tensors(state.generator_optimizer, "generator_adam")
    tensors |= optimizer_tensors(state.discriminator_optimizer, "discriminator_adam")
    facts: dict[str, Any] = {
        "fingerprint": fingerprint,
        "epoch": state.epoch,
        "step": state.step,
        "seen_images": state.seen_images,
        "history": state.history,
    }
    save_checkpoint(work_folder, Checkpoint(tensors, facts), seen_images=state.seen_images)


def resume(state: TrainingState, work_folder: Path, fingerprint: str) -> None:
    """Restore ``state`` from the newest checkpoint in ``work_folder``, if there is one.

    Raises :class:`TrainingError` if that is another training's.
    """
    checkpoint = load_checkpoint(work_folder)
    if checkpoint is None:
        return
    if checkpoint.facts.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"{work_folder}: holds checkpoints of a training with other params, data or code;"
            " move it away to train anew"
        )
    try:
        restore(state, checkpoint)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"{work_folder}: its newest checkpoint doesn't fit this training ({reason}); delete it"
            " to resume from the one before"
        ) from None


def restore(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Fill ``state`` from a checkpoint of the same training."""
    tensors, facts = checkpoint
    state.generator.load_state_dict(tensors_under(tensors, "generator"))
    state.discriminator.load_state_dict(tensors_under(tensors, "discriminator"))
    restore_optimizer(state.generator_optimizer, "generator_adam", tensors)
    restore_optimizer(state.discriminator_optimizer, "discriminator_adam", tensors)
    state.best_weights = tensors_under(tensors, "best")
    state.loss_sums.copy_(tensors["loss_sums"])
    state.epoch, state.step = facts["epoch"], facts["step"]
    state.seen_images, state.history = facts["seen_images"], facts["history"]
