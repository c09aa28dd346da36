import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as torch_processes
from torch import Tensor, distributed, nn

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.pairs.packed import PackedPairs, read_pairs
from pipeline_steps.params import Params, TrainParams
from pipeline_steps.train.data_parallel import SINGLE_PROCESS, ProcessGroup, join_process_group
from pipeline_steps.train.state import TrainingState
from pipeline_steps.train.trainer import TrainingObserver, share_of, train

CPU = torch.device("cpu")
TOLERANCE = 1e-3
"""For float32 weights after two epochs, if sums of gradients have another order."""


def train_here(
    params: TrainParams, folder: Path, processes: ProcessGroup, name: str = ""
) -> TrainingState:
    return train(
        read_pairs(folder / "train.npy"),
        read_pairs(folder / "val.npy"),
        params,
        panel_sketches=torch.ones(1, 1, 32, 32),
        work_folder=folder / f"work-{name}-{processes.count}",
        fingerprint="f",
        observer=TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
        processes=processes,
    )


def train_one_of_two(rank: int, params: dict[str, TrainParams], folder: Path, port: int) -> None:
    """Train with each params, and save the weights under their name."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with join_process_group(CPU) as processes:
        assert processes == ProcessGroup(rank, 2)
        for name, each in params.items():
            state = train_here(each, folder, processes, name)
            torch.save([*state.generator.parameters()], folder / f"{name}-{rank}")


def test_two_processes_give_the_weights_of_one(
    make_pairs: Callable[..., PackedPairs], params: Params, tmp_path: Path
) -> None:
    make_pairs("train", 9), make_pairs("val", 3)
    small = dataclasses.replace(params.train, device="cpu", batch_size=4, precision="float32")
    two = {
        "instance": dataclasses.replace(small, normalization="instance", hints="none"),
        "batch": small,
        "in parts": dataclasses.replace(small, batch_size=8, accumulation_steps=2),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch_processes.start_processes(train_one_of_two, (two, tmp_path, port), nprocs=2)  # type: ignore[no-untyped-call, attr-defined]
    for name, each in two.items():
        first, second = (torch.load(tmp_path / f"{name}-{rank}") for rank in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), name

        # statistics and dropout are computed per share, as for the parts of a batch
        one = dataclasses.replace(each, accumulation_steps=2 * each.accumulation_steps)
        single = train_here(one, tmp_path, SINGLE_PROCESS, name)
        for weight, expected in zip(first, single.generator.parameters(), strict=True):
            if each.accumulation_steps == 1:  # a sum of two and its half have no other order
                assert torch.equal(weight, expected), name
            assert torch.allclose(weight, expected, atol=TOLERANCE), name


def test_large_gradients_are_sent_during_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600), nn.Linear(600, 1))
    sent: list[tuple[int, bool]] = []
    is_done = False

    class Sent:
        def wait(self) -> None:
            assert is_done

    def all_reduce(values: Tensor, *, async_op: bool) -> Sent:
        assert async_op
        sent.append((values.numel(), is_done))
        values *= 2  # as if there were two equal processes
        return Sent()

    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    expected = gradients_of(network, passes=2)
    with ProcessGroup(0, 2).averaged_gradients(network, passes=2):
        found = gradients_of(network, passes=2)
        is_done = True
    # the weights of the inner layers alone, from the last; the rest at the end
    assert sent == [(600 * 600, False), (600 * 600, False), (600 + 1 + 600 + 600, True)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def gradients_of(network: nn.Module, *, passes: int) -> list[Tensor]:
    """The gradients themselves, which are still being sent, of several backward passes."""
    network.zero_grad()
    for number in range(passes):
        network(torch.full((1, 600), float(number + 1))).sum().backward()
    return [weight.grad for weight in network.parameters() if weight.grad is not None]


def test_the_shares_of_all_processes_are_the_batch() -> None:
    shares = [share_of(slice(8, 16), ProcessGroup(rank, 4)) for rank in range(4)]
    assert shares == [slice(8, 10), slice(10, 12), slice(12, 14), slice(14, 16)]
    assert share_of(slice(8, 16), SINGLE_PROCESS) == slice(8, 16)


def test_a_batch_that_cannot_be_shared_is_refused(
    make_pairs: Callable[..., PackedPairs], params: Params, tmp_path: Path
) -> None:
    make_pairs("train", 9), make_pairs("val", 3)
    odd_batch = dataclasses.replace(params.train, batch_size=3)
    with pytest.raises(TrainingError, match="can't be shared by 2 processes"):
        train_here(odd_batch, tmp_path, ProcessGroup(0, 2))


def test_a_single_process_has_rank_0_of_1() -> None:
    with join_process_group(CPU) as processes:
        assert processes is SINGLE_PROCESS
        assert processes.is_main


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(TrainingError, match=r"process 2 .* has no GPU, it has 1; set --nproc"),
        join_process_group(torch.device("cuda")),
    ):
        pass
