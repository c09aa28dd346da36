"""Streams of shards: equal to packed pairs in any order, in bounded space, checked."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import IndexArray, PackedPairs, UInt8Array, sample_rows
from pipeline_steps.pairs.shard_places import open_place
from pipeline_steps.pairs.sharded import ShardedPairs
from pipeline_steps.pairs.shards import ShardList
from pipeline_steps.train.augmentation import shuffle
from tests.pipeline_steps.pairs.sharding import read_sharded, write_sample, write_sharded

NUM_PAIRS, SHARD_PAIRS, BATCH_SIZE = 46, 4, 3
NUM_SHARDS = 12


@pytest.fixture
def pairs(make_pairs: Callable[..., PackedPairs]) -> PackedPairs:
    return make_pairs("train", NUM_PAIRS)


@pytest.fixture
def listed(pairs: PackedPairs, tmp_path: Path) -> ShardList:
    return write_sharded(pairs, str(tmp_path / "shards"), SHARD_PAIRS)


def epoch(shuffle_shards: int, seed: int = 1) -> IndexArray:
    random = torch.Generator().manual_seed(seed)
    order = shuffle(NUM_PAIRS, SHARD_PAIRS, shuffle_shards, random)
    num_batches = NUM_PAIRS // BATCH_SIZE
    return order[: num_batches * BATCH_SIZE].view(num_batches, BATCH_SIZE).numpy()


def read(pairs: PackedPairs | ShardedPairs, batches: IndexArray) -> UInt8Array:
    return np.stack(list(pairs.stream(batches)))


@pytest.mark.parametrize("shuffle_shards", [0, 1, 2, 5, 12, 50])
def test_a_stream_is_what_packed_pairs_give_from_any_step_on(
    pairs: PackedPairs, listed: ShardList, shuffle_shards: int
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=shuffle_shards)
    for seed in range(3):
        batches = epoch(shuffle_shards, seed)
        assert np.array_equal(read(sharded, batches), read(pairs, batches))
        assert np.array_equal(read(sharded, batches[7:]), read(pairs, batches[7:]))


@pytest.mark.parametrize("shuffle_shards", [1, 2, 3])
def test_a_stream_holds_two_windows_of_shards_at_most(
    pairs: PackedPairs, listed: ShardList, shuffle_shards: int
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=shuffle_shards)
    for seed in range(4):
        read(sharded, epoch(shuffle_shards, seed))
    assert sharded.open_shards.peak <= 2 * shuffle_shards


def test_a_batch_of_more_shards_than_a_stream_holds_is_read(
    pairs: PackedPairs, listed: ShardList
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=1)
    batches = np.random.default_rng(0).permutation(NUM_PAIRS)[:40].reshape(2, 20)
    assert np.array_equal(read(sharded, batches), read(pairs, batches))


def test_the_next_shards_are_opened_while_the_first_are_read(
    pairs: PackedPairs, listed: ShardList, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=1)
    opened = threading.Semaphore(0)
    place = sharded._place

    class Counted:
        def open(self, *arguments: int) -> UInt8Array:
            opened.release()
            return place.open(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sharded, "_place", Counted())
    stream = sharded.stream(np.arange(8).reshape(8, 1))
    next(stream)
    # the second shard is opened while the reader has asked for nothing of it
    assert opened.acquire(timeout=30)
    assert opened.acquire(timeout=30)


def test_an_abandoned_stream_ends_its_thread(pairs: PackedPairs, listed: ShardList) -> None:
    before = threading.active_count()
    stream = read_sharded(pairs, listed, shuffle_shards=1).stream(epoch(1))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if "open_all" in thread.name:
            thread.join(timeout=30)
    assert threading.active_count() == before


def test_the_sample_is_the_packed_pairs_own(pairs: PackedPairs, listed: ShardList) -> None:
    sharded = read_sharded(pairs, listed)
    assert np.array_equal(sharded.sample(), pairs.sample())
    assert len(sharded) == NUM_PAIRS
    assert sharded.image_size == pairs.image_size == 32


def test_sample_rows_are_distinct_and_inside_also_of_many_pairs() -> None:
    for num_pairs in (1, 2, 127, 128, 129, 17_000, 2**24 + 4, 10**8):
        rows = sample_rows(num_pairs)
        assert len(set(rows)) == len(rows) == min(num_pairs, 128)
        assert rows[0] == 0
        assert rows[-1] < num_pairs


def damage(path: Path, kind: str) -> None:
    data = bytearray(path.read_bytes())
    match kind:
        case "missing":
            path.unlink()
            return
        case "truncated":
            del data[-1024:]
        case "flipped":
            data[1500] ^= 1
        case "foreign":
            data[:] = bytes(len(data))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("kind", "message"), [("missing", "no such shard"), ("truncated", "bytes, not")]
)
def test_a_missing_or_truncated_shard_is_named_before_any_is_read(
    pairs: PackedPairs, listed: ShardList, tmp_path: Path, kind: str, message: str
) -> None:
    name = listed.shards[-1].name
    damage(tmp_path / "shards" / name, kind)
    with pytest.raises(DataError, match=rf"{name}: .*{message}.*`dvc repro -f prepare`"):
        read_sharded(pairs, listed)


@pytest.mark.parametrize("kind", ["flipped", "foreign", "missing", "truncated"])
def test_a_shard_that_is_damaged_later_is_named_when_it_is_needed(
    pairs: PackedPairs, listed: ShardList, tmp_path: Path, kind: str
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=1)
    name = listed.shards[5].name
    damage(tmp_path / "shards" / name, kind)
    stream = sharded.stream(np.arange(NUM_PAIRS - 1).reshape(-1, 3))
    for _ in range(20 // 3):
        next(stream)
    with pytest.raises(DataError, match=rf"{name}: .*`dvc repro -f prepare`"):
        next(stream)


def test_a_sample_of_other_shards_is_refused(
    make_pairs: Callable[..., PackedPairs], listed: ShardList, tmp_path: Path
) -> None:
    assert listed.address
    larger = make_pairs("larger", 3, 64)
    sample = write_sample(larger, tmp_path / "sample.npy")
    with pytest.raises(DataError, match=r"sample\.npy: not a sample of these shards"):
        ShardedPairs(listed, open_place(listed.address), sample, shuffle_shards=0)
