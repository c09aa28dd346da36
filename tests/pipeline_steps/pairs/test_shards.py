import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.shards import (
    ShardList,
    describe_shard,
    map_shard,
    read_shard_list,
    shard_blocks,
    write_shard_list,
)
from tests.pipeline_steps.pairs.sharding import write_sharded


@pytest.fixture
def pairs(make_pairs: Callable[..., PackedPairs]) -> PackedPairs:
    return make_pairs("train", 10)


@pytest.fixture
def listed(pairs: PackedPairs, tmp_path: Path) -> ShardList:
    return write_sharded(pairs, str(tmp_path / "shards"), 4)


def samples(folder: Path) -> Iterator[dict[str, Any]]:
    """Shards as the webdataset library reads them."""
    files = sorted(map(str, folder.iterdir()))
    yield from webdataset.WebDataset(files, shardshuffle=False).decode()


# webdataset leaves files to the garbage collector
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_pairs(pairs: PackedPairs, listed: ShardList, tmp_path: Path) -> None:
    found = list(samples(tmp_path / "shards"))
    assert [sample["__key__"] for sample in found] == [f"{row:09}" for row in range(10)]
    for sample, pixels in zip(found, pairs.pixels, strict=True):
        assert sample["npy"].dtype == np.uint8
        assert np.array_equal(sample["npy"], pixels)


def test_equal_pairs_give_equal_bytes_on_every_machine() -> None:
    pixels = np.arange(32 * 32 * 4, dtype=np.uint8).reshape(1, 32, 32, 4)
    shard = describe_shard(pixels, number=7, first_row=28, num_pairs=1, image_size=32)
    assert shard.bytes == 512 + 4608 + 1024
    assert shard.name == f"train-000007-{shard.sha256[:16]}.tar"
    assert shard.sha256 == ("5501818447454cd96e3359eb78f2045bbd899baafbc8135f31913aded8158673")


def test_a_mapped_shard_is_its_pairs(pairs: PackedPairs, tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(b"".join(shard_blocks(pairs.pixels, 20, 32)))
    with path.open("rb") as file:
        mapped = map_shard(file, 10, 20, 32)
    path.unlink()
    assert np.array_equal(mapped, pairs.pixels)
    assert not mapped.flags.writeable


def test_a_pair_of_another_size_is_refused(pairs: PackedPairs) -> None:
    with pytest.raises(ValueError, match=r"need uint8 \(64, 64, 4\), got uint8 \(32, 32, 4\)"):
        list(shard_blocks(pairs.pixels, 0, 64))


def test_a_list_is_read_as_it_was_written(listed: ShardList, tmp_path: Path) -> None:
    path = tmp_path / "shards.json"
    write_shard_list(path, listed)
    assert read_shard_list(path) == listed
    assert [shard.pairs for shard in listed.shards] == [4, 4, 2]
    assert listed.num_pairs == 10


def test_its_hash_is_the_pairs_and_not_where_they_are(listed: ShardList) -> None:
    assert replace(listed, address="s3://elsewhere/x").sha256() == listed.sha256()
    assert replace(listed, shards=listed.shards[:2]).sha256() != listed.sha256()


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "newer": (lambda value: value.update(format=2), "newer version .*format 2, known 1"),
    "no format": (lambda value: value.pop("format"), "damaged .*'format'"),
    "unknown key": (lambda value: value.update(compression="zstd"), "damaged .*compression"),
    "a path": (lambda value: value["shards"][0].update(name="../x.tar"), "no shard's name"),
    "gap": (lambda value: value["shards"][0].update(pairs=3), "has 3 pairs of 4"),
    "size": (lambda value: value["shards"][1].update(bytes=5), "has 5 bytes"),
    "no hash": (lambda value: value["shards"][2].update(sha256=""), "no shard's name"),
    "no address": (lambda value: value.update(address=None), "no address"),
    "no count": (lambda value: value.update(shard_pairs="4"), "'4' is no count"),
    "no list": (lambda value: value.update(shards=5), "damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_list_is_refused_in_one_line(listed: ShardList, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "shards.json"
    write_shard_list(path, listed)
    value = json.loads(path.read_text())
    breaks, message = BROKEN[kind]
    breaks(value)
    path.write_text(json.dumps(value))
    with pytest.raises(
        DataError, match=rf"shards\.json: .*{message}.*dvc repro -f prepare"
    ) as error:
        read_shard_list(path)
    assert "\n" not in str(error.value)


def test_a_list_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shards.json"
    with pytest.raises(DataError, match=r"no such file; `dvc repro prepare` makes it"):
        read_shard_list(path)
    for text in ("[]", "{", "[" * 100_000, "\x80"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match="dvc repro -f prepare"):
            read_shard_list(path)
