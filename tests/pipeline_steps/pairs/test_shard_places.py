"""Shards in a bucket: put once, streamed in bounded space, checked; nothing stays behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from colorizer.base import object_store
from colorizer.base.errors import ObjectStoreError
from pipeline_steps.base.errors import DataError, DiskSpaceError
from pipeline_steps.base.paths import SHARD_WORK
from pipeline_steps.pairs import shard_places
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.shard_places import ShardBucket, ShardFolder, open_place
from pipeline_steps.pairs.shards import ShardList, shard_blocks
from tests.pipeline_steps.pairs.sharding import read_sharded, write_sharded
from tests.s3_servers import S3Server

ADDRESS = "s3://pairs/drawn/set"
NUM_PAIRS, SHARD_PAIRS = 22, 4


@pytest.fixture
def pairs(make_pairs: Callable[..., PackedPairs], in_folder: Path) -> PackedPairs:
    return make_pairs("train", NUM_PAIRS)


@pytest.fixture
def listed(pairs: PackedPairs, s3_store: S3Server) -> ShardList:
    return write_sharded(pairs, ADDRESS, SHARD_PAIRS)


def files_in_work() -> list[str]:
    return [path.name for path in SHARD_WORK.glob("*")] + [p.name for p in SHARD_WORK.glob(".*")]


def test_a_relative_folder_begins_at_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    place = open_place("data/shards")
    assert isinstance(place, ShardFolder)
    assert place.folder == tmp_path / "data/shards"
    absolute = open_place("/shards")
    assert isinstance(absolute, ShardFolder)
    assert absolute.folder == Path("/shards")


def test_what_is_put_into_a_bucket_is_what_a_folder_would_hold(
    pairs: PackedPairs, listed: ShardList, tmp_path: Path
) -> None:
    folder = write_sharded(pairs, str(tmp_path / "shards"), SHARD_PAIRS)
    assert folder.shards == listed.shards
    for shard in listed.shards:
        stored = object_store.read_bytes(f"{ADDRESS}/{shard.name}")
        assert stored == (tmp_path / "shards" / shard.name).read_bytes()
    assert files_in_work() == []


def test_a_shard_that_a_place_holds_whole_is_known(
    pairs: PackedPairs, listed: ShardList, tmp_path: Path
) -> None:
    folder = ShardFolder(tmp_path / "shards")
    bucket = ShardBucket(ADDRESS, SHARD_WORK)
    for number, shard in enumerate(listed.shards):
        first = number * SHARD_PAIRS
        assert bucket.holds(shard)
        assert not folder.holds(shard)
        blocks = shard_blocks(pairs.pixels[first : first + SHARD_PAIRS], first, 32)
        folder.put(shard, blocks)
        assert folder.holds(shard)
    name = listed.shards[0].name
    (tmp_path / "shards" / name).write_bytes(bytes(listed.shards[0].bytes))
    object_store.write_bytes(f"{ADDRESS}/{name}", b"cut")
    assert not folder.holds(listed.shards[0])
    assert not bucket.holds(listed.shards[0])


@pytest.mark.parametrize("shuffle_shards", [0, 1])
def test_a_bucket_is_streamed_and_leaves_nothing_on_the_disk(
    pairs: PackedPairs, listed: ShardList, shuffle_shards: int
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=shuffle_shards)
    batches = np.arange(NUM_PAIRS).reshape(11, 2)
    for number, pixels in enumerate(sharded.stream(batches)):
        assert np.array_equal(pixels, pairs.pixels[2 * number : 2 * number + 2])
        names = [name for name in files_in_work() if ".part" not in name]
        assert len(names) <= 1  # one that has arrived and isn't mapped yet
    assert files_in_work() == []
    assert sharded.open_shards.peak == (2 if shuffle_shards else 6)


def test_shards_that_stay_at_hand_are_fetched_once(
    pairs: PackedPairs, listed: ShardList, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    download = object_store.download

    def counted(address: str, target: Path) -> None:
        fetched.append(address)
        download(address, target)

    monkeypatch.setattr(object_store, "download", counted)
    sharded = read_sharded(pairs, listed, shuffle_shards=0)
    for _ in range(3):
        list(sharded.stream(np.arange(NUM_PAIRS).reshape(11, 2)))
    assert sorted(fetched) == sorted(f"{ADDRESS}/{shard.name}" for shard in listed.shards)


def test_a_missing_or_truncated_shard_is_named_before_any_is_fetched(
    pairs: PackedPairs, listed: ShardList
) -> None:
    address = f"{ADDRESS}/{listed.shards[3].name}"
    object_store.write_bytes(address, b"cut")
    with pytest.raises(
        DataError, match=rf"{address}: .*3 bytes, not .*delete it and run `dvc repro"
    ):
        read_sharded(pairs, listed)
    object_store.delete(address)
    with pytest.raises(DataError, match=rf"{address}: no such shard; run `dvc repro -f prepare`"):
        read_sharded(pairs, listed)


def test_a_shard_of_other_bytes_is_named_when_it_arrives(
    pairs: PackedPairs, listed: ShardList
) -> None:
    sharded = read_sharded(pairs, listed, shuffle_shards=1)
    address = f"{ADDRESS}/{listed.shards[3].name}"
    object_store.write_bytes(address, bytes(listed.shards[3].bytes))
    stream = sharded.stream(np.arange(NUM_PAIRS).reshape(11, 2))
    for _ in range(6):
        next(stream)
    with pytest.raises(DataError, match=f"{address}: .*other bytes than prepare wrote"):
        next(stream)
    assert files_in_work() == []


def test_too_little_space_for_the_shards_at_hand_is_known_before(
    pairs: PackedPairs, listed: ShardList, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, num_bytes: int, what: str) -> None:
        raise DiskSpaceError(f"{what}: {num_bytes} in {folder}")

    monkeypatch.setattr(shard_places, "require_disk_space", refuse)
    bytes_at_hand = 4 * listed.shards[0].bytes
    with pytest.raises(DiskSpaceError, match=f"4 shards at hand: {bytes_at_hand} in .work/shards"):
        read_sharded(pairs, listed, shuffle_shards=2)


@pytest.mark.usefixtures("s3_store")
def test_a_bucket_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ObjectStoreError, match=r"s3://nowhere/x: there is no such bucket"):
        open_place("s3://nowhere/x").require_ready(1)
    with pytest.raises(ObjectStoreError, match=r"must be s3://bucket/key"):
        open_place("s3:/pairs")
