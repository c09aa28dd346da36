from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.train_split import TrainPairs
from pipeline_steps.train.batches import fetch, make_resident, read_ahead, read_batches
from tests.pipeline_steps.pairs.sharding import read_sharded, write_sharded

CPU = torch.device("cpu")


def test_pixels_are_in_the_range_of_the_model(make_pairs: Callable[..., PackedPairs]) -> None:
    pairs = make_pairs("train", 3)
    rows = fetch(pairs, torch.tensor([2, 0]), CPU)
    assert rows.shape == (2, 4, 32, 32)
    assert rows.dtype == torch.float32
    assert rows.is_contiguous(memory_format=torch.channels_last)
    assert (rows.min().item(), rows.max().item()) == (-1.0, 1.0)
    assert rows[0, 0, 16, 16].item() == pytest.approx(pairs.pixels[2, 16, 16, 0] / 127.5 - 1)


@pytest.mark.parametrize("num_batches", [0, 1, 3])
@pytest.mark.parametrize("in_shards", [False, True])
def test_prefetching_gives_the_same_batches_in_the_same_order(
    make_pairs: Callable[..., PackedPairs], tmp_path: Path, num_batches: int, in_shards: bool
) -> None:
    pairs: TrainPairs = make_pairs("train", 6)
    batches = torch.tensor([[4, 1], [0, 5], [2, 3]])[:num_batches]
    plain = list(read_batches(pairs, None, batches, CPU))
    if in_shards:
        assert isinstance(pairs, PackedPairs)
        pairs = read_sharded(pairs, write_sharded(pairs, str(tmp_path / "shards"), 2))
    ahead = list(read_ahead(pairs, batches, CPU))
    assert len(plain) == len(ahead) == num_batches
    assert all(torch.equal(a, b) for a, b in zip(plain, ahead, strict=True))


def test_pairs_are_not_kept_on_a_cpu_device(make_pairs: Callable[..., PackedPairs]) -> None:
    assert make_resident(make_pairs("train", 2), CPU) is None
