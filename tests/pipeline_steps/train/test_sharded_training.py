"""Training from shards ends with the weights of packed pairs: whole, resumed, in two processes."""

import dataclasses
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as torch_processes

from pipeline_steps.base.signals import Interruption
from pipeline_steps.pairs.packed import PackedPairs, UInt8Array, read_pairs
from pipeline_steps.pairs.sharded import ShardedPairs
from pipeline_steps.pairs.shards import ShardList, read_shard_list, write_shard_list
from pipeline_steps.pairs.train_split import TrainPairs, read_train_pairs
from pipeline_steps.params import Params, TrainParams
from pipeline_steps.train.data_parallel import SINGLE_PROCESS, ProcessGroup, join_process_group
from pipeline_steps.train.state import TrainingState
from pipeline_steps.train.trainer import TrainingObserver, train
from tests.pipeline_steps.pairs.sharding import write_sample, write_sharded
from tests.pipeline_steps.train.test_data_parallel import TOLERANCE
from tests.pipeline_steps.train.test_trainer import Recorder, StopError, same, weights_of

NUM_PAIRS, SHARD_PAIRS = 21, 3
CPU = torch.device("cpu")


@pytest.fixture
def small(params: Params) -> TrainParams:
    return dataclasses.replace(
        params.train, batch_size=4, shuffle_shards=2, precision="float32", device="cpu"
    )


@pytest.fixture
def folder(make_pairs: Callable[..., PackedPairs], tmp_path: Path) -> Path:
    """Packed splits, and train in shards as well, with its list and its sample."""
    packed = make_pairs("train", NUM_PAIRS)
    make_pairs("val", 3)
    listed = write_sharded(packed, str(tmp_path / "shards"), SHARD_PAIRS)
    write_shard_list(tmp_path / "shards.json", listed)
    write_sample(packed, tmp_path / "sample.npy")
    return tmp_path


def packed_pairs(folder: Path, params: TrainParams) -> TrainPairs:
    listed = ShardList(shard_pairs=SHARD_PAIRS, image_size=32, address=None)
    return read_train_pairs(folder / "train.npy", listed, shuffle_shards=params.shuffle_shards)


def sharded_pairs(folder: Path, params: TrainParams) -> TrainPairs:
    listed = read_shard_list(folder / "shards.json")
    return read_train_pairs(folder / "sample.npy", listed, shuffle_shards=params.shuffle_shards)


def run(
    pairs: TrainPairs,
    params: TrainParams,
    folder: Path,
    work: str,
    recorder: Recorder | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> TrainingState:
    return train(
        pairs,
        read_pairs(folder / "val.npy"),
        params,
        panel_sketches=torch.ones(1, 1, 32, 32),
        work_folder=folder / work,
        fingerprint="f",
        observer=(recorder or Recorder()).observer(),
        shard_pairs=SHARD_PAIRS,
        processes=processes,
    )


@pytest.mark.parametrize("shuffle_shards", [0, 2])
def test_shards_give_the_weights_of_packed_pairs(
    folder: Path, small: TrainParams, shuffle_shards: int
) -> None:
    params = dataclasses.replace(small, shuffle_shards=shuffle_shards)
    packed = run(packed_pairs(folder, params), params, folder, "packed")
    sharded = run(sharded_pairs(folder, params), params, folder, "sharded")
    assert same(weights_of(packed), weights_of(sharded))
    assert same([*packed.best_weights.values()], [*sharded.best_weights.values()])


def test_fewer_shards_shuffled_together_give_other_weights(
    folder: Path, small: TrainParams
) -> None:
    """Control: the equality above would hold if the order were ignored."""
    all_together = dataclasses.replace(small, shuffle_shards=0)
    first, second = (
        run(packed_pairs(folder, params), params, folder, str(params.shuffle_shards))
        for params in (small, all_together)
    )
    assert not same(weights_of(first), weights_of(second))


def test_a_training_from_shards_resumes_to_the_same_bytes(folder: Path, small: TrainParams) -> None:
    # a checkpoint before every step: the newest is in the middle of an epoch
    eager = dataclasses.replace(small, epochs=3, checkpoint_interval_s=0.0)
    reference = run(sharded_pairs(folder, eager), eager, folder, "reference")
    with pytest.raises(StopError):
        run(sharded_pairs(folder, eager), eager, folder, "stopped", Recorder(stop_after_epoch=2))
    resumed = run(sharded_pairs(folder, eager), eager, folder, "stopped")
    assert same(weights_of(reference), weights_of(resumed))
    assert same([*reference.best_weights.values()], [*resumed.best_weights.values()])


def test_a_training_that_is_signalled_while_it_waits_for_a_shard_is_saved(
    folder: Path, small: TrainParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = dataclasses.replace(small, shuffle_shards=1)
    reference = run(sharded_pairs(folder, params), params, folder, "reference")
    stalled = sharded_pairs(folder, params)
    assert isinstance(stalled, ShardedPairs)
    ended = threading.Event()
    opened: list[int] = []
    place = stalled._place

    class Stalling:
        """Opens four shards; then the network hangs, and somebody stops the training."""

        def open(self, *arguments: Any) -> UInt8Array:
            opened.append(1)
            if len(opened) > 4:
                os.kill(os.getpid(), signal.SIGTERM)
                ended.wait(60)
            return place.open(*arguments)

    monkeypatch.setattr(stalled, "_place", Stalling())
    with pytest.raises(Interruption, match="checkpoint saved at epoch 1, step"):
        run(stalled, params, folder, "stalled")
    ended.set()
    resumed = run(sharded_pairs(folder, params), params, folder, "stalled")
    assert same(weights_of(reference), weights_of(resumed))


def train_one_of_two(rank: int, params: TrainParams, folder: Path, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with join_process_group(CPU) as processes:
        state = train(
            sharded_pairs(folder, params),
            read_pairs(folder / "val.npy"),
            params,
            panel_sketches=torch.ones(1, 1, 32, 32),
            work_folder=folder / "two",
            fingerprint="f",
            observer=TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
            shard_pairs=SHARD_PAIRS,
            processes=processes,
        )
        torch.save([*state.generator.parameters()], folder / f"weights-{rank}")


@pytest.mark.slow
def test_two_processes_that_stream_shards_give_the_weights_of_one(
    folder: Path, small: TrainParams
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch_processes.start_processes(train_one_of_two, (small, folder, port), nprocs=2)  # type: ignore[no-untyped-call, attr-defined]
    first, second = (torch.load(folder / f"weights-{rank}") for rank in range(2))
    assert same(first, second)
    one = dataclasses.replace(small, accumulation_steps=2)
    single = run(packed_pairs(folder, one), one, folder, "one")
    for weight, expected in zip(first, single.generator.parameters(), strict=True):
        assert torch.allclose(weight, expected, atol=TOLERANCE)
