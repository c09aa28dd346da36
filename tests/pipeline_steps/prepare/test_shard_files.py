"""The stage with ``prepare.shards``: the same pairs as packed ones, written once."""

from pathlib import Path

import numpy as np
import pytest

from colorizer.base import object_store
from pipeline_steps.base.errors import DiskSpaceError
from pipeline_steps.pairs import shard_places
from pipeline_steps.pairs.packed import read_pairs
from pipeline_steps.pairs.shards import ShardList, read_shard_list
from pipeline_steps.pairs.train_split import read_train_pairs
from tests.pipeline_steps.prepare.test_prepare import Prepared, split_members, write_raw


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "raw", split_members())


@pytest.fixture
def packed(tmp_path: Path, raw: Path) -> Prepared:
    return Prepared(tmp_path / "packed").run(raw)


def shards_of(prepared: Prepared) -> ShardList:
    return read_shard_list(prepared.folder / "shards.json")


def test_shards_hold_the_pairs_that_would_have_been_packed(
    tmp_path: Path, raw: Path, packed: Prepared
) -> None:
    address = str(tmp_path / "shards")
    sharded = Prepared(tmp_path / "sharded").run(raw, shards=address, shard_pairs=4)
    listed = shards_of(sharded)
    expected = read_pairs(packed.folder / "train.npy")
    assert [shard.pairs for shard in listed.shards] == [4] * (len(expected) // 4) + (
        [len(expected) % 4] if len(expected) % 4 else []
    )
    pairs = read_train_pairs(sharded.folder / "train.npy", listed, shuffle_shards=0)
    (pixels,) = pairs.stream([np.arange(len(expected))])
    assert np.array_equal(pixels, expected.pixels)
    assert np.array_equal(pairs.sample(), expected.sample())
    for name in ("val.npy", "test.npy", "train_mean.npy", "manifest.csv"):
        assert (sharded.folder / name).read_bytes() == (packed.folder / name).read_bytes()
    assert sharded.dataset()["pairs"] == packed.dataset()["pairs"]
    assert sharded.dataset()["files"]["shards"] == listed.sha256()
    assert sharded.dataset()["fingerprint"] != packed.dataset()["fingerprint"]


def test_packed_pairs_have_a_list_without_shards(packed: Prepared) -> None:
    assert shards_of(packed) == ShardList(shard_pairs=4096, image_size=32, address=None)


def test_shards_that_are_there_are_not_written_again(tmp_path: Path, raw: Path) -> None:
    folder = tmp_path / "shards"
    prepared = Prepared(tmp_path / "prepared")
    prepared.run(raw, shards=str(folder), shard_pairs=4)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    outputs = prepared.bytes_of_all()

    damaged = folder / sorted(before)[0]
    damaged.write_bytes(bytes(damaged.stat().st_size))
    prepared.run(raw, shards=str(folder), shard_pairs=4)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {damaged.name}
    assert prepared.bytes_of_all() == outputs
    pairs = read_train_pairs(prepared.folder / "train.npy", shards_of(prepared), shuffle_shards=0)
    assert len(list(pairs.stream(np.arange(len(pairs))[:, None]))) == len(pairs)


def test_another_set_leaves_the_shards_that_a_training_may_be_reading(
    tmp_path: Path, raw: Path
) -> None:
    address = str(tmp_path / "shards")
    first = Prepared(tmp_path / "first").run(raw, shards=address, shard_pairs=4)
    pairs = read_train_pairs(first.folder / "train.npy", shards_of(first), shuffle_shards=1)
    Prepared(tmp_path / "second").run(raw, shards=address, shard_pairs=4, image_size=64)
    (pixels,) = pairs.stream([np.arange(len(pairs))])
    assert pixels.shape == (len(pairs), 32, 32, 4)


@pytest.mark.usefixtures("s3_store")
def test_shards_go_to_a_bucket(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepared = Prepared(tmp_path / "prepared")
    prepared.run(raw, shards="s3://pairs/set", shard_pairs=4)
    listed = shards_of(prepared)
    stored = [file.address for file in object_store.list_files("s3://pairs/")]
    assert stored == [f"s3://pairs/set/{shard.name}" for shard in listed.shards]
    pairs = read_train_pairs(prepared.folder / "train.npy", listed, shuffle_shards=1)
    (pixels,) = pairs.stream([np.arange(len(pairs))])
    assert np.array_equal(pixels[:1], pairs.sample()[:1])


def test_too_little_space_for_shards_is_known_before_any_picture_is_read(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, num_bytes: int, what: str) -> None:
        raise DiskSpaceError(f"{what} needs {num_bytes}")

    monkeypatch.setattr(shard_places, "require_disk_space", refuse)
    prepared = Prepared(tmp_path / "prepared")
    with pytest.raises(DiskSpaceError, match=f"writing shards needs {16 * 5120 + 1024}"):
        prepared.run(raw, shards=str(tmp_path / "shards"))
    assert not prepared.folder.exists()
