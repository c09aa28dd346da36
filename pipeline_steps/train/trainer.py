"""The training loop of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3.3).

Shape legend: N pairs in a batch, S = image size in pixels, channels first, values in −1..1.

To resume, run the same training again with the same work folder: it continues from the newest
checkpoint, and on CPU ends with the same bytes as an uninterrupted one. Random draws are functions
of the seed, the epoch and the step, so no generator's state needs to be stored.
"""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline_steps.base import signals
from pipeline_steps.base.errors import TrainingError
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.pairs.train_split import TrainPairs
from pipeline_steps.scores.scorer import Scorer
from pipeline_steps.train.augmentation import HINTS, REPAINTED, augment, mix_seed, plan_epoch
from pipeline_steps.train.batches import make_resident, read_batches
from pipeline_steps.train.data_parallel import SINGLE_PROCESS, ProcessGroup
from pipeline_steps.train.device import choose_autocast_dtype, choose_device, make_deterministic
from pipeline_steps.train.health import (
    is_finite,
    require_finite,
    require_finite_weights,
    require_no_collapse,
)
from pipeline_steps.train.losses import adversarial_loss, discriminator_loss, l1_loss
from pipeline_steps.train.schedule import (
    draws_hints,
    is_adversarial,
    learning_rate_scale,
    line_style_share,
    set_learning_rate,
)
from pipeline_steps.train.state import (
    EpochRow,
    Losses,
    TrainingState,
    build_state,
    compile_networks,
    require_space_for_checkpoints,
    resume,
    save,
    snapshot,
)
from pipeline_steps.train.validation import (
    ValReferences,
    colour_sketches,
    recalibrate_batch_norm,
    validate,
)

if TYPE_CHECKING:
    from pipeline_steps.params import TrainParams

STEPS_BETWEEN_LOSS_CHECKS = 20  # reading a loss waits for the GPU


@dataclass(frozen=True)
class TrainingObserver:
    """Callbacks of the trainer, called between steps, once for an epoch."""

    on_samples: Callable[[int, Tensor], None]
    """(epoch, K×3×S×S float in −1..1 on CPU): the coloured panel; epoch 0 is before training."""
    on_epoch: Callable[[EpochRow], None]
    """The finished epoch's row of the history."""


@signals.deferrable()
def train(
    train_pairs: TrainPairs,
    val_pairs: PackedPairs,
    params: "TrainParams",
    *,
    panel_sketches: Tensor,
    work_folder: Path,
    fingerprint: str,
    observer: TrainingObserver,
    st_lpips: bool = False,
    shard_pairs: int = 0,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> TrainingState:
    """Train a generator, or resume its training; return the finished state.

    ``panel_sketches`` (K×1×S×S float in −1..1) are coloured before the first epoch and every
    ``sample_every_epochs``. Checkpoints are kept in ``work_folder``; ``fingerprint`` identifies
    what they were made from. With ``st_lpips``, val pairs are scored by it as well. Pairs are
    shuffled as if they lay in shards of ``shard_pairs``, also if they don't. Each process of
    ``processes`` calls this and trains on its share of every batch.

    Raises :class:`TrainingError` on a non-finite loss, a collapse, another training's checkpoint,
    when memory runs out, or when ``params.device`` isn't there; after SIGINT or SIGTERM
    :class:`~pipeline_steps.base.signals.Interruption`, once a checkpoint is written.
    """
    image_size = train_pairs.image_size
    device = choose_device(params.device)
    autocast_dtype = choose_autocast_dtype(params.precision, device)
    make_deterministic()
    scorer = Scorer(st_lpips=st_lpips, device=device)
    references = ValReferences(val_pairs, scorer)
    state = build_state(params, image_size, device)
    resume(state, work_folder, fingerprint)
    if processes.is_main:
        require_space_for_checkpoints(state, work_folder)
    steps_per_epoch = max(1, len(train_pairs) // params.batch_size)
    batch_size = min(params.batch_size, len(train_pairs))
    if batch_size % processes.count:
        raise TrainingError(
            f"train.batch_size: {batch_size} pairs can't be shared by {processes.count} processes;"
            " set a multiple"
        )
    processes.wait()  # rank 0 drops old checkpoints; other ranks may still be reading them
    compile_networks(state, params, device, run_images=params.epochs * steps_per_epoch * batch_size)
    resident = make_resident(train_pairs, device)
    last_checkpoint_s = time.monotonic()
    progress = tqdm(
        total=params.epochs * steps_per_epoch,
        initial=state.epoch * steps_per_epoch + state.step,
        desc="train",
        unit="step",
        mininterval=0.5 if sys.stderr.isatty() else 15.0,
        dynamic_ncols=True,
        disable=not processes.is_main,
    )

    while state.epoch < params.epochs:
        plan = plan_epoch(
            seed=params.seed,
            epoch=state.epoch,
            num_pairs=len(train_pairs),
            load_size=params.load_size,
            image_size=image_size,
            flip=params.horizontal_flip,
            shard_pairs=shard_pairs,
            shuffle_shards=params.shuffle_shards,
        )
        adversarial = is_adversarial(state.epoch, params)
        redrawn_share = line_style_share(state.epoch, params)
        with_hints = draws_hints(state.epoch, params)
        lr_scale = learning_rate_scale(state.epoch, params)
        set_learning_rate(state.generator_optimizer, params.generator_lr * lr_scale)
        set_learning_rate(state.discriminator_optimizer, params.discriminator_lr * lr_scale)
        epoch_start_s, epoch_start_images = time.monotonic(), state.seen_images
        shares = plan.order[: steps_per_epoch * batch_size].view(
            steps_per_epoch, processes.count, -1
        )
        batches = read_batches(train_pairs, resident, shares[state.step :, processes.rank], device)

        # rare work: pictures before the first epoch
        if state.epoch == 0 and state.step == 0:
            observer.on_samples(0, colour_sketches(state.generator, panel_sketches))

        while state.step < steps_per_epoch:
            # rare work: a checkpoint
            due_s = last_checkpoint_s + params.checkpoint_interval_s
            if processes.is_main and time.monotonic() >= due_s:
                require_finite(state, params)
                require_finite_weights(state)
                save(state, work_folder, fingerprint)
                last_checkpoint_s = time.monotonic()

            # one step -----------------------------------------------------------------------
            batch = slice(state.step * batch_size, (state.step + 1) * batch_size)
            share, first = share_of(batch, processes), processes.rank * params.accumulation_steps
            seeds = [
                mix_seed(params.seed, state.epoch, state.step, first + part)
                for part in range(params.accumulation_steps)
            ]  # of dropout
            with saved_when_interrupted(state, work_folder, fingerprint, processes):
                pairs = next(batches)  # it may wait for a shard
            with explained_out_of_memory():
                pairs = augment(
                    pairs,
                    plan,
                    share,
                    load_size=params.load_size,
                    redrawn_share=redrawn_share,
                    with_hints=with_hints,
                )
                losses = update(state, pairs, params, autocast_dtype, seeds, processes, adversarial)
            state.loss_sums += processes.average(torch.stack(losses))
            state.step += 1
            state.seen_images += batch_size
            # ---------------------------------------------------------------------------------

            signals.defer()  # from here on there is progress to lose
            with saved_when_interrupted(state, work_folder, fingerprint, processes):
                raise_if_interrupted(state, processes)
            progress.update()
            if state.step % STEPS_BETWEEN_LOSS_CHECKS == 0:
                require_finite(state, params)

        require_finite(state, params)
        row: EpochRow = {"epoch": state.epoch + 1, "seen_images": state.seen_images}
        row |= mean_losses(
            state.loss_sums / steps_per_epoch,
            adversarial=adversarial,
            hinted=None if params.hints == "none" else with_hints,
        )
        with saved_when_interrupted(state, work_folder, fingerprint, processes):
            recalibrate_batch_norm(state.generator, train_pairs)
            row |= validate(state.generator, val_pairs, scorer, references, with_hints=with_hints)
        row["learning_rate"] = params.generator_lr * lr_scale
        elapsed_s = time.monotonic() - epoch_start_s
        row["images_per_s"] = (state.seen_images - epoch_start_images) / elapsed_s
        if device.type == "cuda":
            row["peak_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        state.epoch, state.step = state.epoch + 1, 0
        state.loss_sums.zero_()
        state.history.append(row)
        if state.best_epoch == state.epoch:
            state.best_weights = snapshot(state.generator)

        progress.set_postfix(
            epoch=f"{state.epoch}/{params.epochs}",
            l1=f"{row['loss_l1']:.3f}",
            val_l1=f"{row['val_l1']:.3f}",
            refresh=False,
        )
        observer.on_epoch(row)
        if state.epoch % params.sample_every_epochs == 0 or state.epoch == params.epochs:
            observer.on_samples(state.epoch, colour_sketches(state.generator, panel_sketches))
        require_no_collapse(state, params, work_folder)

    progress.close()
    if processes.is_main:
        save(state, work_folder, fingerprint)
    return state


def update(
    state: TrainingState,
    pairs: Tensor,
    params: "TrainParams",
    autocast_dtype: torch.dtype | None,
    seeds: Sequence[int] = (0,),
    processes: ProcessGroup = SINGLE_PROCESS,
    adversarial: bool = True,
) -> Losses:
    """One step of both networks on N×4×S×S pairs in −1..1: first D, then G against the new D.

    If it isn't ``adversarial``, of G alone, by L1. Of N×11×S×S, with hints, G's hint head learns as
    well, and the rest of G what it would without them.

    The batch is split into as many parts as there are ``seeds`` (of dropout), to save memory: with
    several, pictures are generated twice, and batch normalization sees one part at a time.
    """
    parts = pairs.chunk(len(seeds))
    weights = [len(part) / len(pairs) for part in parts]
    autocast = torch.autocast(pairs.device.type, autocast_dtype, enabled=autocast_dtype is not None)
    kept: list[Tensor] = []
    totals = torch.zeros(len(Losses._fields), dtype=pairs.dtype, device=pairs.device)

    if adversarial:
        state.discriminator_optimizer.zero_grad()
        with processes.averaged_gradients(state.discriminator, passes=len(parts)):
            for part, seed, weight in zip(parts, seeds, weights, strict=False):
                torch.manual_seed(seed)
                with autocast, torch.set_grad_enabled(len(parts) == 1):
                    generated = state.run_generator(part[:, SKETCH])
                kept = [generated]
                with autocast:
                    d_loss = judge(state, part, generated.detach(), params.gan_loss)
                (weight * d_loss).backward()
                totals[0] += weight * d_loss.detach()
        state.discriminator_optimizer.step()

    state.discriminator.requires_grad_(False)
    state.generator_optimizer.zero_grad()
    with processes.averaged_gradients(state.generator, passes=len(parts)):
        for part, seed, weight in zip(parts, seeds, weights, strict=False):
            torch.manual_seed(seed)
            with autocast:
                reused = kept and len(parts) == 1
                generated = kept[0] if reused else state.run_generator(part[:, SKETCH])
                loss = torch.zeros_like(totals[0])
                if adversarial:
                    logits = state.run_discriminator(part[:, SKETCH], generated)
                    loss = adversarial_loss(params.gan_loss, logits)
                l1 = l1_loss(generated, part[:, COLOUR])
                hinted = hinted_loss(state, part, generated.detach())
            (weight * (loss + params.l1_weight * (l1 + hinted))).backward()
            totals[1:] += weight * torch.stack([loss, l1, hinted]).detach()
    state.generator_optimizer.step()
    state.discriminator.requires_grad_(True)
    return Losses(*totals.unbind())


def hinted_loss(state: TrainingState, pairs: Tensor, generated: Tensor) -> Tensor:
    """L1 of the N×3×S×S pictures once hints have changed them; 0 for pairs without hints."""
    hints = pairs[:, HINTS]
    if not hints.shape[1]:
        return generated.new_zeros((), dtype=torch.float32)
    followed = state.generator.follow(generated, pairs[:, SKETCH], hints)
    return l1_loss(followed, pairs[:, REPAINTED])


def mean_losses(losses: Tensor, *, adversarial: bool, hinted: bool | None = None) -> EpochRow:
    """An epoch's row of losses; NaN, which is no number, for those that it didn't have.

    ``hinted``: whether it had hints; None if the generator takes none.
    """
    of_discriminator, of_generator, l1, of_hinted = losses.tolist()
    if not adversarial:
        of_discriminator = of_generator = math.nan
    row = {"loss_discriminator": of_discriminator, "loss_adversarial": of_generator, "loss_l1": l1}
    if hinted is not None:
        row["loss_hinted"] = of_hinted if hinted else math.nan
    return row


def judge(state: TrainingState, pairs: Tensor, generated: Tensor, gan_loss: str) -> Tensor:
    """The discriminator's loss on N×4×S×S pairs and the N×3×S×S generated from their sketches.

    Two passes: one would mix the batch-norm statistics of real and generated pictures.
    """
    sketch = pairs[:, SKETCH]
    real_logits = state.run_discriminator(sketch, pairs[:, COLOUR])
    fake_logits = state.run_discriminator(sketch, generated)
    return discriminator_loss(gan_loss, real_logits, fake_logits)


def share_of(batch: slice, processes: ProcessGroup) -> slice:
    """This process's part of a global batch: consecutive, of equal size for each process."""
    size = (batch.stop - batch.start) // processes.count
    first = batch.start + size * processes.rank
    return slice(first, first + size)


@contextmanager
def explained_out_of_memory() -> Iterator[None]:
    """Turn torch's out-of-memory errors into a :class:`TrainingError` that says what to do."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        is_on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not is_on_gpu and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"train: {'the GPU' if is_on_gpu else 'the machine'}'s memory ran out"
            f" ({str(error).splitlines()[0]}); raise train.accumulation_steps, or lower"
            " train.batch_size; training is saved up to the last checkpoint"
        ) from None


def raise_if_interrupted(state: TrainingState, processes: ProcessGroup) -> None:
    """Raise :class:`Interruption` if a signal was received by any process of the group.

    On GPUs a group checks every ``STEPS_BETWEEN_LOSS_CHECKS`` steps only: it waits for the GPUs.
    """
    device = state.loss_sums.device
    if processes.count > 1 and device.type == "cuda" and state.step % STEPS_BETWEEN_LOSS_CHECKS:
        return
    if processes.any(signals.received() is not None, device):
        signals.raise_if_received()
        raise signals.Interruption(signal.SIGTERM)


@contextmanager
def saved_when_interrupted(
    state: TrainingState, work_folder: Path, fingerprint: str, processes: ProcessGroup
) -> Iterator[None]:
    """Write a checkpoint when :class:`Interruption` is raised inside, and raise it again."""
    try:
        yield
    except signals.Interruption as interruption:
        saved = ""
        if processes.is_main and is_finite(state):
            save(state, work_folder, fingerprint)
            saved = f"checkpoint saved at epoch {state.epoch + 1}, step {state.step}"
        raise signals.Interruption(interruption.number, saved) from None
