"""Shards: packed pairs in tar files of webdataset's layout, and the list of them.

A shard is a USTAR archive of ``000000000.npy``, ``000000001.npy``, …: one pair each (H×W×4
``uint8``), named by its row in the split. All members have one size, so that a pair's place is
arithmetic, and a mapped shard is read as packed pairs are. Equal pairs give equal bytes: no times,
no owners. A shard is named after its contents: one set never overwrites what another lists.

``shards.json`` lists a split's shards in the order of their rows, with the sha256 of each.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from colorizer.base.files import write_json
from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import NUM_CHANNELS, UInt8Array

FORMAT = 1
_BLOCK_BYTES = 512
_NPY_HEADER_BYTES = 128
_END_OF_ARCHIVE = bytes(2 * _BLOCK_BYTES)
_NAME = re.compile(r"train-[0-9]{6,}-[0-9a-f]{16}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
AGAIN = "run `dvc repro -f prepare`"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the list says of a shard."""

    name: str
    pairs: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardList:
    """The shards of the train split; none if it is packed."""

    shard_pairs: int
    """Pairs of each shard but the last."""
    image_size: int
    """Height and width in pixels."""
    address: str | None
    """A folder or an ``s3://`` address, as ``prepare.shards`` said; None if the split is packed."""
    shards: tuple[Shard, ...] = ()

    @property
    def num_pairs(self) -> int:
        """Pairs of all shards."""
        return sum(shard.pairs for shard in self.shards)

    def sha256(self) -> str:
        """Hash the pairs, by the hashes of their shards; wherever these are."""
        lines = "".join(f"{shard.sha256}  {shard.pairs}\n" for shard in self.shards)
        return hashlib.sha256(f"{self.image_size}\n{lines}".encode()).hexdigest()


def member_bytes(image_size: int) -> int:
    """Bytes of a pair in a shard: the tar's header, and a ``.npy`` file filled up to a block."""
    file_bytes = _NPY_HEADER_BYTES + image_size**2 * NUM_CHANNELS
    return _BLOCK_BYTES + -(-file_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


def shard_bytes(num_pairs: int, image_size: int) -> int:
    """Bytes of a shard of so many pairs."""
    return num_pairs * member_bytes(image_size) + len(_END_OF_ARCHIVE)


def shard_blocks(pairs: Iterable[UInt8Array], first_row: int, image_size: int) -> Iterator[bytes]:
    """Yield a shard's bytes, piece by piece; ``pairs`` are H×W×4 ``uint8``.

    Raises :class:`ValueError` if a pair has another shape.
    """
    shape = (image_size, image_size, NUM_CHANNELS)
    padding = bytes(
        member_bytes(image_size) - _BLOCK_BYTES - _NPY_HEADER_BYTES - int(np.prod(shape))
    )
    for row, pair in enumerate(pairs, first_row):
        if pair.shape != shape or pair.dtype != np.uint8:
            raise ValueError(f"need uint8 {shape}, got {pair.dtype} {pair.shape}")
        yield _headers(row, image_size)
        yield np.ascontiguousarray(pair).tobytes()
        yield padding
    yield _END_OF_ARCHIVE


def describe_shard(
    pairs: Iterable[UInt8Array], *, number: int, first_row: int, num_pairs: int, image_size: int
) -> Shard:
    """What the list will say of the ``number``-th shard, which isn't written yet."""
    digest = hashlib.sha256()
    for block in shard_blocks(pairs, first_row, image_size):
        digest.update(block)
    sha256 = digest.hexdigest()
    return Shard(
        name=f"train-{number:06}-{sha256[:16]}.tar",
        pairs=num_pairs,
        bytes=shard_bytes(num_pairs, image_size),
        sha256=sha256,
    )


def map_shard(file: BinaryIO, num_pairs: int, first_row: int, image_size: int) -> UInt8Array:
    """Map a shard's pairs: N×H×W×4 ``uint8``, read-only; the file may be closed or removed.

    Raises :class:`ValueError`, in a few words, if it is truncated or no shard of these rows.
    """
    num_bytes = file.seek(0, 2)
    expected = shard_bytes(num_pairs, image_size)
    if num_bytes != expected:
        raise ValueError(f"{num_bytes} bytes, not {expected}")
    mapped: UInt8Array = np.memmap(file, np.uint8, mode="r")
    headers = _headers(first_row, image_size)
    if mapped[: len(headers)].tobytes() != headers:
        raise ValueError(f"its first member is not row {first_row} of pairs of {image_size} px")
    row_bytes = image_size * NUM_CHANNELS
    return np.ndarray(
        (num_pairs, image_size, image_size, NUM_CHANNELS),
        np.uint8,
        buffer=mapped,
        offset=len(headers),
        strides=(member_bytes(image_size), row_bytes, NUM_CHANNELS, 1),
    )


def write_shard_list(path: Path, listed: ShardList) -> None:
    """Write ``shards.json``."""
    write_json(path, {"format": FORMAT, **asdict(listed)})


def read_shard_list(path: Path) -> ShardList:
    """Read ``shards.json``.

    Raises :class:`DataError` if it is missing, damaged or of a newer format.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro prepare` makes it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: unreadable ({error}); {AGAIN}") from None
    try:
        version = value.pop("format")
        if isinstance(version, int) and version > FORMAT:
            raise DataError(
                f"{path}: written by a newer version of this code (format {version}, known"
                f" {FORMAT}); update the code, or {AGAIN}"
            )
        shards = tuple(Shard(**shard) for shard in value.pop("shards"))
        listed = ShardList(shards=shards, **value)
        _check(listed)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); {AGAIN}") from None
    return listed


def _check(listed: ShardList) -> None:
    """Raise :class:`ValueError` unless the list can be read by arithmetic, and only its shards."""
    for value in (listed.shard_pairs, listed.image_size):
        if type(value) is not int or value < 1:
            raise ValueError(f"{value!r} is no count")
    for number, shard in enumerate(listed.shards):
        is_last = number == len(listed.shards) - 1
        if not (_NAME.fullmatch(shard.name) and _SHA256.fullmatch(shard.sha256)):
            raise ValueError(f"{shard.name!r} is no shard's name with its sha256")
        if not (
            1 <= shard.pairs <= listed.shard_pairs if is_last else shard.pairs == listed.shard_pairs
        ):
            raise ValueError(f"{shard.name} has {shard.pairs} pairs of {listed.shard_pairs}")
        if shard.bytes != shard_bytes(shard.pairs, listed.image_size):
            raise ValueError(f"{shard.name} has {shard.bytes} bytes")
    if listed.shards and not isinstance(listed.address, str):
        raise ValueError("no address")


def _headers(row: int, image_size: int) -> bytes:
    """What precedes a pair's pixels: the tar's header and the ``.npy`` file's.

    Written here, since tarfile's and numpy's bytes differ between versions.
    """
    file_bytes = _NPY_HEADER_BYTES + image_size**2 * NUM_CHANNELS
    fields = [f"{row:09}.npy".ljust(100, "\0"), "0000644\0", 2 * "0000000\0"]
    fields += [f"{file_bytes:011o}\0", f"{0:011o}\0", 8 * " ", "0", 100 * "\0", "ustar\0", "00"]
    tar = "".join(fields).ljust(_BLOCK_BYTES, "\0")
    checksum = f"{sum(tar.encode()):06o}\0 "
    tar = tar[:148] + checksum + tar[156:]
    shape = (image_size, image_size, NUM_CHANNELS)
    facts: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
    text_bytes = _NPY_HEADER_BYTES - 10
    npy = b"\x93NUMPY\x01\x00" + text_bytes.to_bytes(2, "little")
    return tar.encode() + npy + f"{facts!r}".ljust(text_bytes - 1).encode() + b"\n"
