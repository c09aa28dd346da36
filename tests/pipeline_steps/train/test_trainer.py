import dataclasses
import math
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from pipeline_steps.base import disk_space
from pipeline_steps.base.errors import DiskSpaceError, TrainingError
from pipeline_steps.base.signals import Interruption
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture, load_generator
from pipeline_steps.pairs.packed import SKETCH, PackedPairs
from pipeline_steps.params import Params, TrainParams
from pipeline_steps.train import trainer
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.checkpoint import Checkpoint, save_checkpoint
from pipeline_steps.train.state import EpochRow, Losses, TrainingState, build_state
from pipeline_steps.train.trainer import TrainingObserver, train, update
from pipeline_steps.train.validation import recalibrate_batch_norm, validate


class StopError(Exception):
    """Raised from within a training to interrupt it."""


class Recorder:
    def __init__(
        self, stop_after_epoch: int | None = None, signal_after_epoch: int | None = None
    ) -> None:
        self.samples: list[int] = []
        self.rows: list[EpochRow] = []
        self.stop_after_epoch = stop_after_epoch
        self.signal_after_epoch = signal_after_epoch

    def observer(self) -> TrainingObserver:
        return TrainingObserver(on_samples=self.on_samples, on_epoch=self.on_epoch)

    def on_samples(self, epoch: int, coloured: Tensor) -> None:
        assert coloured.shape == (1, 3, 32, 32)
        self.samples.append(epoch)

    def on_epoch(self, row: EpochRow) -> None:
        self.rows.append(row)
        if row["epoch"] == self.stop_after_epoch:
            raise StopError
        if row["epoch"] == self.signal_after_epoch:
            os.kill(os.getpid(), signal.SIGTERM)


def run(
    pairs: tuple[PackedPairs, PackedPairs],
    params: TrainParams,
    folder: Path,
    recorder: Recorder | None = None,
    fingerprint: str = "f",
) -> TrainingState:
    return train(
        *pairs,
        params,
        panel_sketches=torch.ones(1, 1, 32, 32),
        work_folder=folder,
        fingerprint=fingerprint,
        observer=(recorder or Recorder()).observer(),
    )


def weights_of(state: TrainingState) -> list[Tensor]:
    return [*state.generator.state_dict().values(), *state.discriminator.state_dict().values()]


def same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def pairs(make_pairs: Callable[..., PackedPairs]) -> tuple[PackedPairs, PackedPairs]:
    return make_pairs("train", 9), make_pairs("val", 3)


@pytest.fixture
def small(params: Params) -> TrainParams:
    return params.train


def test_only_the_same_seed_gives_the_same_bytes(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    first = run(pairs, small, tmp_path / "a")
    again = run(pairs, small, tmp_path / "b")
    other = run(pairs, dataclasses.replace(small, seed=2), tmp_path / "c")
    assert same(weights_of(first), weights_of(again))
    assert not same(weights_of(first), weights_of(other))


@pytest.mark.parametrize("normalization", ["batch", "instance"])
@pytest.mark.parametrize("hints", ["none", "points"])
def test_an_interrupted_training_resumes_to_the_same_bytes(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    normalization: Literal["batch", "instance"],
    hints: Literal["none", "points"],
) -> None:
    # a checkpoint before every step, so that it is interrupted in the middle of an epoch
    eager = dataclasses.replace(
        small,
        epochs=3,
        checkpoint_interval_s=0.0,
        normalization=normalization,
        hints=hints,
        hints_start_fraction=0.3,
    )
    reference_recorder = Recorder()
    reference = run(pairs, eager, tmp_path / "reference", reference_recorder)

    interrupted_recorder = Recorder(stop_after_epoch=2)
    with pytest.raises(StopError):
        run(pairs, eager, tmp_path / "interrupted", interrupted_recorder)
    resumed_recorder = Recorder()
    resumed = run(pairs, eager, tmp_path / "interrupted", resumed_recorder)

    assert same(weights_of(reference), weights_of(resumed))
    assert same([*reference.best_weights.values()], [*resumed.best_weights.values()])
    # the last checkpoint precedes the last step of epoch 2, so epoch 2 is validated again
    assert [row["epoch"] for row in resumed_recorder.rows] == [2, 3]
    for row, expected in zip(resumed.history, reference.history, strict=True):
        row.pop("images_per_s"), expected.pop("images_per_s")
        assert list(row) == list(expected)
        assert [*row.values()] == pytest.approx([*expected.values()], rel=0, abs=0, nan_ok=True)


def test_a_signalled_training_loses_no_step(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    longer = dataclasses.replace(small, epochs=3)
    reference = run(pairs, longer, tmp_path / "reference")
    with pytest.raises(Interruption, match="checkpoint saved at epoch 2, step 1") as raised:
        run(pairs, longer, tmp_path / "stopped", Recorder(signal_after_epoch=1))
    assert raised.value.exit_code == 143
    recorder = Recorder()
    resumed = run(pairs, longer, tmp_path / "stopped", recorder)
    # one step after the signal, although the next checkpoint was due in an hour
    assert [row["epoch"] for row in recorder.rows] == [2, 3]
    assert same(weights_of(reference), weights_of(resumed))


def test_an_interrupted_validation_is_repeated(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = run(pairs, small, tmp_path / "reference")
    real, calls = validate, 0

    def interrupted_in_the_second(*arguments: Any, with_hints: bool) -> EpochRow:
        nonlocal calls
        calls += 1
        if calls == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, with_hints=with_hints)

    monkeypatch.setattr(trainer, "validate", interrupted_in_the_second)
    with pytest.raises(Interruption, match="checkpoint saved at epoch 2, step 4"):
        run(pairs, small, tmp_path / "stopped")
    resumed = run(pairs, small, tmp_path / "stopped")
    assert same(weights_of(reference), weights_of(resumed))
    assert [row["val_l1"] for row in resumed.history] == [
        row["val_l1"] for row in reference.history
    ]


@pytest.mark.parametrize("fault", ["nan", "out of memory"])
def test_after_a_transient_fault_the_training_resumes_to_the_same_bytes(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    eager = dataclasses.replace(small, checkpoint_interval_s=0.0)
    reference = run(pairs, eager, tmp_path / "reference")
    real, calls = trainer.update, 0

    def faulty(state: TrainingState, *arguments: Any) -> Losses:
        nonlocal calls
        calls += 1
        if calls == 6 and fault == "out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        losses = real(state, *arguments)
        if calls == 6:  # the loss is still finite, a weight isn't
            with torch.no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return losses

    monkeypatch.setattr(trainer, "update", faulty)
    with pytest.raises(TrainingError, match="the last checkpoint"):
        run(pairs, eager, tmp_path / "interrupted")
    monkeypatch.undo()
    resumed = run(pairs, eager, tmp_path / "interrupted")
    assert same(weights_of(reference), weights_of(resumed))


def test_a_collapse_stops_with_a_diagnosis_and_the_best_generator(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = trainer.update, 0

    def corrupting(state: TrainingState, *arguments: Any) -> Losses:
        nonlocal calls
        calls += 1
        losses = real(state, *arguments)
        if calls > 4:  # from the second epoch on, the output is constant grey
            with torch.no_grad():
                for weight in state.generator.parameters():
                    weight.zero_()
        return losses

    monkeypatch.setattr(trainer, "update", corrupting)
    watched = dataclasses.replace(small, epochs=9, collapse_epochs=2)
    with pytest.raises(TrainingError, match=r"after epoch 3: .*nearly constant for 2") as raised:
        run(pairs, watched, tmp_path)
    best = tmp_path / "generator_best.safetensors"
    assert str(best) in str(raised.value)
    assert any(weight.abs().max() > 0 for weight in load_generator(best).parameters())


def test_a_crafted_checkpoint_is_refused(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    facts = {"fingerprint": "f", "epoch": 1, "step": 0, "seen_images": 8, "history": []}
    save_checkpoint(tmp_path, Checkpoint({"x": torch.zeros(1)}, facts), seen_images=8)
    with pytest.raises(TrainingError, match="doesn't fit this training"):
        run(pairs, small, tmp_path)


def test_a_training_is_refused_when_its_checkpoints_do_not_fit_on_the_disk(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Disk space is needed for two kept checkpoints and a third that is being written."""
    small = dataclasses.replace(small, generator_width=32)
    run(pairs, dataclasses.replace(small, epochs=1), tmp_path / "measured")
    (checkpoint,) = (tmp_path / "measured").glob("checkpoint-*")
    needed_bytes = 3 * checkpoint.stat().st_size
    free_bytes = 0
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes + disk_space.SPARE_BYTES)
    )
    recorder = Recorder()
    free_bytes = int(0.9 * needed_bytes)
    with pytest.raises(DiskSpaceError, match="checkpoints needs"):
        run(pairs, small, tmp_path / "full", recorder)
    assert recorder.samples == []
    free_bytes = 2 * needed_bytes
    run(pairs, small, tmp_path / "full", recorder)
    assert [row["epoch"] for row in recorder.rows] == [1, 2]


def test_a_finished_training_is_not_trained_again(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    finished = run(pairs, small, tmp_path)
    recorder = Recorder()
    again = run(pairs, small, tmp_path, recorder)
    assert recorder.rows == []
    assert same(weights_of(finished), weights_of(again))


def test_checkpoints_of_another_training_are_refused(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    run(pairs, small, tmp_path)
    with pytest.raises(TrainingError, match="other params, data or code"):
        run(pairs, small, tmp_path, fingerprint="other")


def test_a_weight_that_is_not_finite_is_not_saved(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    # a checkpoint is due before every step; the second one would hold the weights
    exploding = dataclasses.replace(small, l1_weight=float("inf"), checkpoint_interval_s=0.0)
    with pytest.raises(TrainingError, match=r"weight is not finite after epoch 1, step 1; run"):
        run(pairs, exploding, tmp_path)
    assert seen_images_of_checkpoints(tmp_path) == [0]


def test_a_loss_that_is_not_finite_stops_at_the_end_of_the_epoch(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    exploding = dataclasses.replace(small, l1_weight=float("inf"))
    with pytest.raises(TrainingError, match=r"not finite in epoch 1.*lower train\.generator_lr"):
        run(pairs, exploding, tmp_path)
    assert seen_images_of_checkpoints(tmp_path) == []


def test_a_loss_that_is_not_finite_is_not_saved(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = trainer.update

    def faulty(*arguments: Any) -> Losses:
        losses = real(*arguments)
        return losses._replace(l1=torch.full_like(losses.l1, float("nan")))

    monkeypatch.setattr(trainer, "update", faulty)
    eager = dataclasses.replace(small, checkpoint_interval_s=0.0)
    with pytest.raises(
        TrainingError, match=r"l1 loss is not finite in epoch 1, step 1;.*lower train\.generator_lr"
    ):
        run(pairs, eager, tmp_path)
    assert seen_images_of_checkpoints(tmp_path) == [0]


def seen_images_of_checkpoints(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


def test_out_of_memory_is_reported_with_what_to_do(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(trainer, "update", run_out)
    with pytest.raises(TrainingError, match=r"2 GiB\); raise train\.accumulation_steps, or lower"):
        run(pairs, small, tmp_path)


@pytest.mark.parametrize("accumulation_steps", [2, 4])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole_batch(
    make_pairs: Callable[..., PackedPairs], small: TrainParams, accumulation_steps: int
) -> None:
    # batch normalization and dropout work on one part at a time
    params = dataclasses.replace(small, normalization="instance", dropout=0.0, precision="float32")
    rows = fetch(make_pairs("train", 4), torch.arange(4), torch.device("cpu"))
    whole, parts = (build_state(params, 32, torch.device("cpu")) for _ in range(2))
    expected = update(whole, rows, params, None)
    losses = update(parts, rows, params, None, seeds=range(accumulation_steps))
    assert torch.allclose(torch.stack(losses), torch.stack(expected), rtol=1e-4)
    for found, gradient in zip(gradients_of(parts), gradients_of(whole), strict=True):
        assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-5)


def test_before_its_start_the_adversarial_loss_trains_no_discriminator(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    late = dataclasses.replace(small, epochs=2, adversarial_start_fraction=0.5)
    never = dataclasses.replace(late, epochs=1, adversarial_start_fraction=1.0)
    untrained = build_state(late, 32, torch.device("cpu"))
    first, both = run(pairs, never, tmp_path / "1"), run(pairs, late, tmp_path / "2")
    start = list(untrained.discriminator.parameters())
    assert same(list(first.discriminator.parameters()), start)
    assert not same(list(both.discriminator.parameters()), start)
    assert not same(list(first.generator.parameters()), list(untrained.generator.parameters()))
    has_none = [math.isnan(row["loss_discriminator"]) for row in both.history]
    assert has_none == [math.isnan(row["loss_adversarial"]) for row in both.history]
    assert has_none == [True, False]
    assert all(row["loss_l1"] > 0 for row in both.history)


def gradients_of(state: TrainingState) -> list[Tensor]:
    networks = (state.generator, state.discriminator)
    return [w.grad for network in networks for w in network.parameters() if w.grad is not None]


@pytest.mark.parametrize("adversarial_start", [0.0, 1.0])
def test_hints_change_no_weight_of_the_generator_but_the_heads(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    adversarial_start: float,
) -> None:
    params = dataclasses.replace(
        small, epochs=2, hints_start_fraction=0.5, adversarial_start_fraction=adversarial_start
    )
    plain = run(pairs, dataclasses.replace(params, hints="none"), tmp_path / "plain")
    hinted = run(pairs, params, tmp_path / "hinted")
    weights = hinted.generator.state_dict()
    head = {name for name in weights if name.startswith("hint_head.")}
    assert head
    for name, value in plain.generator.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert {*plain.generator.state_dict()} == {*weights} - head
    assert same([*plain.discriminator.parameters()], [*hinted.discriminator.parameters()])
    untrained = build_state(params, 32, torch.device("cpu"))
    before = untrained.generator.state_dict()
    assert all(not torch.equal(before[name], weights[name]) for name in head)


def test_the_best_epoch_is_one_with_hints(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    params = dataclasses.replace(small, epochs=4, hints_start_fraction=0.5)
    state = run(pairs, params, tmp_path)
    assert [math.isnan(row["val_hinted_l1"]) for row in state.history] == [True, True, False, False]
    assert [math.isnan(row["loss_hinted"]) for row in state.history] == [True, True, False, False]
    state.history[0]["val_l1"] = 0.0
    assert state.best_epoch in (3, 4)
    del state.history[2:]
    assert state.best_epoch == 1


def test_training_lowers_the_validation_loss(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    longer = dataclasses.replace(small, epochs=12, generator_lr=2e-3, generator_width=8)
    state = run(pairs, longer, tmp_path)
    assert state.history[-1]["val_l1"] < 0.6 * state.history[0]["val_l1"]
    assert state.best_epoch == min(state.history, key=lambda row: row["val_l1"])["epoch"]


def test_samples_are_taken_before_the_first_epoch_every_n_and_at_the_end(
    pairs: tuple[PackedPairs, PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    recorder = Recorder()
    run(pairs, dataclasses.replace(small, epochs=5, sample_every_epochs=2), tmp_path, recorder)
    assert recorder.samples == [0, 2, 4, 5]


def test_fewer_pairs_than_the_batch_size_can_be_trained(
    make_pairs: Callable[..., PackedPairs], small: TrainParams, tmp_path: Path
) -> None:
    both = make_pairs("train", 1), make_pairs("val", 1)
    state = run(both, dataclasses.replace(small, batch_size=8), tmp_path)
    assert state.seen_images == 2


def test_each_step_uses_the_learning_rate_of_its_epoch(
    pairs: tuple[PackedPairs, PackedPairs],
    small: TrainParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[tuple[int, float, float]] = []
    real = trainer.update

    def spy(state: TrainingState, *arguments: Any) -> Losses:
        rates = [
            optimizer.param_groups[0]["lr"]
            for optimizer in (state.generator_optimizer, state.discriminator_optimizer)
        ]
        used.append((state.epoch, *rates))
        return real(state, *arguments)

    monkeypatch.setattr(trainer, "update", spy)
    falling = dataclasses.replace(
        small, epochs=3, lr_decay_fraction=1.0, generator_lr=0.4, discriminator_lr=0.04
    )
    state = run(pairs, falling, tmp_path)
    expected = [(0, 0.3, 0.03), (1, 0.2, 0.02), (2, 0.1, 0.01)]
    for epoch, generator_lr, discriminator_lr in expected:
        of_epoch = [rates for number, *rates in used if number == epoch]
        assert of_epoch == [pytest.approx([generator_lr, discriminator_lr])] * 4
    assert [row["learning_rate"] for row in state.history] == pytest.approx([0.3, 0.2, 0.1])


def test_recalibrated_statistics_are_those_of_the_data(
    make_pairs: Callable[..., PackedPairs],
) -> None:
    pairs = make_pairs("train", 16)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4, dropout=0.5))
    recalibrate_batch_norm(generator, pairs)
    seen: list[Tensor] = []
    first_norm = next(m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first_norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rows = fetch(pairs, torch.arange(16), torch.device("cpu"))
    generator(rows[:, SKETCH])
    assert first_norm.running_mean is not None
    assert torch.allclose(first_norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-5)
    assert generator.training
