"""The training loop of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3.3).

Shape legend: N pairs in a batch, S = image size in pixels, channels first, values in −1..1.

To resume, run the same training again with the same work folder: it goes on from the newest
checkpoint, and on CPU ends with the same bytes as an unbroken run. All that is random is a function
of the seed and of where the training stands, so nothing of it needs to be stored.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline_steps.base import signals
from pipeline_steps.base.errors import TrainingError
from pipeline_steps.networks.generator import Generator
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.params import TrainParams
from pipeline_steps.scores import metrics
from pipeline_steps.scores.definitions import METRICS
from pipeline_steps.train.augmentation import jitter, mix_seed, plan_epoch
from pipeline_steps.train.batches import fetch, make_resident, read_batches
from pipeline_steps.train.collapse import VarietyMeter
from pipeline_steps.train.data_parallel import SINGLE_PROCESS, ProcessGroup
from pipeline_steps.train.health import (
    is_finite,
    require_finite,
    require_finite_weights,
    require_no_collapse,
)
from pipeline_steps.train.losses import adversarial_loss, discriminator_loss, l1_loss
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

STEPS_BETWEEN_LOSS_CHECKS = 20  # reading a loss waits for the GPU
VAL_BATCH_SIZE = 16
RECALIBRATION_PAIRS = 128
BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class TrainingObserver:
    """Whom the trainer tells; each is called outside the step, never twice for one epoch."""

    on_samples: Callable[[int, Tensor], None]
    """(epoch, N×3×S×S float in −1..1 on CPU): the panel as the generator colours it now."""
    on_epoch: Callable[[EpochRow], None]


@signals.deferrable()
def train(
    train_pairs: PackedPairs,
    val_pairs: PackedPairs,
    params: TrainParams,
    *,
    panel_sketches: Tensor,
    work_folder: Path,
    fingerprint: str,
    observer: TrainingObserver,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> TrainingState:
    """Train a generator, or go on with one; return the finished state.

    ``panel_sketches`` (K×1×S×S float in −1..1) are coloured before the first epoch and every
    ``sample_every_epochs``. ``work_folder`` keeps the checkpoints; ``fingerprint`` says what they
    were made from. With several ``processes`` each calls this and takes its share of every batch.
    Raises :class:`TrainingError` on a non-finite loss, a collapse, a checkpoint of another
    training, when memory runs out, and where the device asked for is not there; on SIGINT and
    SIGTERM :class:`~pipeline_steps.base.signals.Interruption`, once a checkpoint is written.
    """
    image_size = train_pairs.image_size
    device = choose_device(params.device)
    autocast_dtype = choose_autocast_dtype(params.precision, device)
    make_deterministic()
    state = build_state(params, image_size, device)
    resume(state, work_folder, fingerprint)
    if processes.leads:
        require_space_for_checkpoints(state, work_folder)
    steps_per_epoch = max(1, len(train_pairs) // params.batch_size)
    batch_size = min(params.batch_size, len(train_pairs))
    if batch_size % processes.count:
        raise TrainingError(
            f"train.batch_size: {batch_size} pairs can't be shared by {processes.count} processes;"
            " set a multiple"
        )
    processes.wait()  # the one that leads drops old checkpoints, others may still be reading
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
        disable=not processes.leads,
    )

    while state.epoch < params.epochs:
        plan = plan_epoch(
            seed=params.seed,
            epoch=state.epoch,
            num_pairs=len(train_pairs),
            load_size=params.load_size,
            image_size=image_size,
            flip=params.horizontal_flip,
        )
        lr_scale = learning_rate_scale(state.epoch, params)
        set_learning_rate(state.generator_optimizer, params.generator_lr * lr_scale)
        set_learning_rate(state.discriminator_optimizer, params.discriminator_lr * lr_scale)
        epoch_start_s, epoch_start_images = time.monotonic(), state.seen_images
        mine = [
            share_of(slice(step * batch_size, (step + 1) * batch_size), processes)
            for step in range(steps_per_epoch)
        ]
        batches = read_batches(
            train_pairs, resident, [plan.order[rows] for rows in mine[state.step :]], device
        )

        # rare work: pictures before the first epoch
        if state.epoch == 0 and state.step == 0:
            observer.on_samples(0, colour_sketches(state.generator, panel_sketches))

        while state.step < steps_per_epoch:
            # rare work: a checkpoint
            due_s = last_checkpoint_s + params.checkpoint_interval_s
            if processes.leads and time.monotonic() >= due_s:
                require_finite(state, params)
                require_finite_weights(state)
                save(state, work_folder, fingerprint)
                last_checkpoint_s = time.monotonic()

            # one step -----------------------------------------------------------------------
            rows, first = mine[state.step], processes.rank * params.accumulation_steps
            seeds = [
                mix_seed(params.seed, state.epoch, state.step, first + part)
                for part in range(params.accumulation_steps)
            ]  # of dropout
            with explained_out_of_memory():
                pairs = next(batches)
                pairs = jitter(pairs, plan.corners[rows], plan.mirrored[rows], params.load_size)
                losses = update(state, pairs, params, autocast_dtype, seeds, processes)
            state.loss_sums += processes.average(torch.stack(losses))
            state.step += 1
            state.seen_images += batch_size
            # ---------------------------------------------------------------------------------

            signals.defer()  # from now on there is something to lose
            with saved_when_interrupted(state, work_folder, fingerprint, processes):
                raise_if_told(state, processes)
            progress.update()
            if state.step % STEPS_BETWEEN_LOSS_CHECKS == 0:
                require_finite(state, params)

        require_finite(state, params)
        row: EpochRow = {"epoch": state.epoch + 1, "seen_images": state.seen_images}
        names = ("loss_discriminator", "loss_adversarial", "loss_l1")
        row |= zip(names, (state.loss_sums / steps_per_epoch).tolist(), strict=True)
        with saved_when_interrupted(state, work_folder, fingerprint, processes):
            recalibrate_batch_norm(state.generator, train_pairs)
            row |= validate(state.generator, val_pairs)
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
    if processes.leads:
        save(state, work_folder, fingerprint)
    return state


def update(
    state: TrainingState,
    pairs: Tensor,
    params: TrainParams,
    autocast_dtype: torch.dtype | None,
    seeds: Sequence[int] = (0,),
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Losses:
    """One step of both networks on N×4×S×S pairs in −1..1: first D, then G against the new D.

    The batch is taken in as many parts as there are ``seeds`` (of dropout), to save memory: with
    several, generated pictures are made twice, and batch normalization sees a part at a time.
    """
    parts = pairs.chunk(len(seeds))
    weights = [len(part) / len(pairs) for part in parts]
    autocast = torch.autocast(pairs.device.type, autocast_dtype, enabled=autocast_dtype is not None)
    kept: list[Tensor] = []
    totals = torch.zeros(3, dtype=pairs.dtype, device=pairs.device)

    state.discriminator_optimizer.zero_grad()
    for part, seed, weight in zip(parts, seeds, weights, strict=False):
        torch.manual_seed(seed)
        with autocast, torch.set_grad_enabled(len(parts) == 1):
            generated = state.run_generator(part[:, SKETCH])
        kept = [generated]
        with autocast:
            d_loss = judge(state, part, generated.detach(), params.gan_loss)
        (weight * d_loss).backward()
        totals[0] += weight * d_loss.detach()
    processes.average_gradients(state.discriminator.parameters())
    state.discriminator_optimizer.step()

    state.discriminator.requires_grad_(False)
    state.generator_optimizer.zero_grad()
    for part, seed, weight in zip(parts, seeds, weights, strict=False):
        torch.manual_seed(seed)
        with autocast:
            generated = kept[0] if len(parts) == 1 else state.run_generator(part[:, SKETCH])
            logits = state.run_discriminator(part[:, SKETCH], generated)
            adversarial = adversarial_loss(params.gan_loss, logits)
            l1 = l1_loss(generated, part[:, COLOUR])
        (weight * (adversarial + params.l1_weight * l1)).backward()
        totals[1:] += weight * torch.stack([adversarial, l1]).detach()
    processes.average_gradients(state.generator.parameters())
    state.generator_optimizer.step()
    state.discriminator.requires_grad_(True)
    return Losses(*totals.unbind())


def judge(state: TrainingState, pairs: Tensor, generated: Tensor, gan_loss: str) -> Tensor:
    """The discriminator's loss on pairs and on what was generated from their sketches.

    Two passes: in one, batch normalization would mix the statistics of real and generated.
    """
    sketch = pairs[:, SKETCH]
    real_logits = state.run_discriminator(sketch, pairs[:, COLOUR])
    fake_logits = state.run_discriminator(sketch, generated)
    return discriminator_loss(gan_loss, real_logits, fake_logits)


def share_of(batch: slice, processes: ProcessGroup) -> slice:
    """A process's rows of a global batch: consecutive, the same number for each."""
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
            " train.batch_size; what was trained is kept up to the last checkpoint"
        ) from None


def raise_if_told(state: TrainingState, processes: ProcessGroup) -> None:
    """Raise :class:`Interruption` if this process, or one it trains with, was told to stop.

    Several processes on GPUs ask each other only now and then: it waits for the GPUs.
    """
    device = state.loss_sums.device
    if processes.count > 1 and device.type == "cuda" and state.step % STEPS_BETWEEN_LOSS_CHECKS:
        return
    if processes.any(signals.is_told(), device):
        signals.raise_if_told()
        raise signals.Interruption(signal.SIGTERM)


@contextmanager
def saved_when_interrupted(
    state: TrainingState, work_folder: Path, fingerprint: str, processes: ProcessGroup
) -> Iterator[None]:
    """Write a checkpoint when what is inside is interrupted, between two steps or in validation."""
    try:
        yield
    except signals.Interruption as told:
        kept = ""
        if processes.leads and is_finite(state):
            save(state, work_folder, fingerprint)
            kept = f"checkpoint kept at epoch {state.epoch + 1}, step {state.step}"
        raise signals.Interruption(told.number, kept) from None


@torch.inference_mode()
def colour_sketches(generator: Generator, sketches: Tensor) -> Tensor:
    """Colour K×1×S×S sketches in evaluation mode → K×3×S×S float32 on CPU, both in −1..1."""
    device = next(generator.parameters()).device
    generator.eval()
    coloured = [
        generator(batch.to(device)).float().cpu() for batch in sketches.split(VAL_BATCH_SIZE)
    ]
    generator.train()
    return torch.cat(coloured)


@torch.inference_mode()
def recalibrate_batch_norm(generator: Generator, train_pairs: PackedPairs) -> None:
    """Measure what batch normalization divides by anew, with today's weights and no dropout.

    The running averages lag behind the weights and are made with dropout on, which costs a model
    that is used without it much of its quality (Wu & Johnson 2021, arXiv:2105.07576, section 3).
    Training itself never reads them. Pairs are taken evenly, the same ones each time.
    """
    norms = [module for module in generator.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if not norms:
        return
    device = next(generator.parameters()).device
    generator.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    count = min(RECALIBRATION_PAIRS, len(train_pairs))
    indices = torch.linspace(0, len(train_pairs) - 1, count).long()
    for batch in indices.split(VAL_BATCH_SIZE):
        signals.raise_if_told()
        generator(fetch(train_pairs, batch, device)[:, SKETCH])
    for norm in norms:
        norm.momentum = BATCH_NORM_MOMENTUM
    generator.train()


@torch.inference_mode()
def validate(generator: Generator, val_pairs: PackedPairs) -> EpochRow:
    """Mean metrics of the generator, in evaluation mode, over the val pairs: ``{"val_l1": …}``.

    ``val_variety`` is :class:`VarietyMeter`'s. Raises :class:`Interruption` between batches.
    """
    device = next(generator.parameters()).device
    sums = dict.fromkeys(METRICS, 0.0)
    variety = VarietyMeter()
    generator.eval()
    for indices in torch.arange(len(val_pairs)).split(VAL_BATCH_SIZE):
        signals.raise_if_told()
        pairs = fetch(val_pairs, indices, device)
        generated = generator(pairs[:, SKETCH])
        for name, values in metrics.score(generated, pairs[:, COLOUR]).items():
            sums[name] += values.sum().item()
        variety.add(generated, pairs[:, COLOUR])
    generator.train()
    means = {f"val_{name}": total / len(val_pairs) for name, total in sums.items()}
    return {**means, "val_variety": variety.variety()}


def learning_rate_scale(epoch: int, params: TrainParams) -> float:
    """Constant, then falling in a straight line to 0 over the last ``lr_decay_fraction``."""
    decay_epochs = params.lr_decay_fraction * params.epochs
    remaining = params.epochs - epoch
    return min(1.0, remaining / (decay_epochs + 1.0)) if decay_epochs else 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the step size of every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes CUDA where there is one; asked for in vain, :class:`TrainingError`."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "train.device: cuda was asked for, but torch finds no CUDA device; set auto or cpu"
        )
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def choose_autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 for the matrix work where asked for, or, with ``auto``, where it is native.

    None is float32 throughout.
    """
    if precision == "bfloat16" or (precision == "auto" and has_native_bfloat16(device)):
        return torch.bfloat16
    return None


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: most CUDA, AVX512-BF16, AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def make_deterministic() -> None:
    """Same seed, hardware and software, same bytes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
