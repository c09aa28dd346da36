"""Where shards are: a folder or a bucket. Both put whole shards there, and open them checked."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from colorizer.base import object_store
from colorizer.base.files import atomic_path, file_sha256
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.paths import SHARD_WORK
from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.pairs.shards import AGAIN, Shard, ShardList, map_shard

OTHER_BYTES = "other bytes than prepare wrote"


class ShardPlace(Protocol):
    """Holds shards under their names."""

    def require_ready(self, num_bytes: int) -> None:
        """Raise unless shards of so many bytes in all can be put here, with those that it holds."""

    def holds(self, shard: Shard) -> bool:
        """Whether a shard is here, whole."""

    def put(self, shard: Shard, blocks: Iterable[bytes]) -> None:
        """Write a shard, whole or not at all, checked by its sha256."""

    def require_readable(self, listed: ShardList, *, at_hand: int) -> None:
        """Raise :class:`DataError`, naming it, if a shard is missing or of another size.

        :class:`DiskSpaceError` if there is no space for ``at_hand`` shards, where they're fetched.
        """

    def open(self, shard: Shard, first_row: int, image_size: int) -> UInt8Array:
        """Map a shard's pairs, N×S×S×4; raises :class:`DataError` if its bytes are others."""


class ShardFolder:
    """Shards in a folder of this machine, read where they lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[str] = set()

    def require_ready(self, num_bytes: int) -> None:
        """See :class:`ShardPlace`."""
        held = sum(path.stat().st_size for path in self.folder.glob("train-*.tar"))
        require_disk_space(self.folder, max(0, num_bytes - held), "writing shards")

    def holds(self, shard: Shard) -> bool:
        """See :class:`ShardPlace`."""
        path = self.folder / shard.name
        try:
            return path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256
        except FileNotFoundError:
            return False

    def put(self, shard: Shard, blocks: Iterable[bytes]) -> None:
        """See :class:`ShardPlace`."""
        with atomic_path(self.folder / shard.name) as partial:
            write_blocks(partial, blocks, shard)

    def require_readable(self, listed: ShardList, *, at_hand: int) -> None:
        """See :class:`ShardPlace`."""
        for shard in listed.shards:
            path = self.folder / shard.name
            try:
                num_bytes = path.stat().st_size
            except OSError:
                raise missing(path) from None
            if num_bytes != shard.bytes:
                raise damaged(path, f"{num_bytes} bytes, not {shard.bytes}")

    def open(self, shard: Shard, first_row: int, image_size: int) -> UInt8Array:
        """See :class:`ShardPlace`; its bytes are checked the first time."""
        path = self.folder / shard.name
        try:
            with path.open("rb") as file:
                if shard.name not in self._checked and file_sha256(path) != shard.sha256:
                    raise ValueError(OTHER_BYTES)
                pixels = map_shard(file, shard.pairs, first_row, image_size)
        except FileNotFoundError:
            raise missing(path) from None
        except ValueError as error:
            raise damaged(path, str(error)) from None
        self._checked.add(shard.name)
        return pixels


class ShardBucket:
    """Shards in an object store; each is fetched whole, and its space freed with its pixels.

    ``work_folder`` is where they pass through. They have no name there once they're mapped, so
    that the system frees them when the process ends, however it does.
    """

    def __init__(self, address: str, work_folder: Path) -> None:
        object_store.parse_address(address)
        self.address = address
        self.work_folder = work_folder

    def require_ready(self, num_bytes: int) -> None:
        """See :class:`ShardPlace`."""
        object_store.require_bucket(self.address)

    def holds(self, shard: Shard) -> bool:
        """See :class:`ShardPlace`; by name, which tells the contents, and size."""
        found = object_store.find_file(self._address_of(shard))
        return found is not None and found.num_bytes == shard.bytes

    def put(self, shard: Shard, blocks: Iterable[bytes]) -> None:
        """See :class:`ShardPlace`."""
        require_disk_space(self.work_folder, shard.bytes, f"writing {shard.name}")
        passing = self._passing_path(shard)
        with atomic_path(passing) as partial:
            write_blocks(partial, blocks, shard)
            object_store.upload(partial, self._address_of(shard))
        passing.unlink()
        if not self.holds(shard):
            raise damaged(self._address_of(shard), "stored with another size")

    def require_readable(self, listed: ShardList, *, at_hand: int) -> None:
        """See :class:`ShardPlace`."""
        found = {
            file.address: file.num_bytes
            for file in object_store.list_files(object_store.join(self.address, "train-"))
        }
        for shard in listed.shards:
            address = self._address_of(shard)
            if address not in found:
                raise missing(address)
            if found[address] != shard.bytes:
                raise damaged(address, f"{found[address]} bytes, not {shard.bytes}")
        num_bytes = at_hand * listed.shards[0].bytes
        require_disk_space(self.work_folder, num_bytes, f"{at_hand} shards at hand")

    def open(self, shard: Shard, first_row: int, image_size: int) -> UInt8Array:
        """See :class:`ShardPlace`; its bytes are checked every time."""
        passing = self._passing_path(shard)
        object_store.download(self._address_of(shard), passing)
        with passing.open("rb") as file:
            passing.unlink()
            try:
                if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                    raise ValueError(OTHER_BYTES)
                return map_shard(file, shard.pairs, first_row, image_size)
            except ValueError as error:
                raise damaged(self._address_of(shard), str(error)) from None

    def _address_of(self, shard: Shard) -> str:
        return object_store.join(self.address, shard.name)

    def _passing_path(self, shard: Shard) -> Path:
        """Where a shard passes through; processes of one machine fetch the same ones."""
        return self.work_folder / f"{os.getpid()}-{shard.name}"


def open_place(address: str) -> ShardPlace:
    """The place that ``prepare.shards`` names; a relative folder begins at the repository."""
    if object_store.is_address(address):
        return ShardBucket(address, SHARD_WORK)
    return ShardFolder(Path(os.environ.get("DVC_ROOT") or "") / Path(address).expanduser())


def write_blocks(path: Path, blocks: Iterable[bytes], shard: Shard) -> None:
    """Write a shard's bytes, and read them again to compare.

    Raises :class:`DataError` if the file differs: the disk, or the pairs while they were read.
    """
    with path.open("wb") as file:
        file.writelines(blocks)
    if path.stat().st_size != shard.bytes or file_sha256(path) != shard.sha256:
        raise DataError(f"{shard.name}: other bytes than were to be written; check the disk")


def missing(where: object) -> DataError:
    """The error of a shard that is listed and not there."""
    return DataError(f"{where}: no such shard; {AGAIN}")


def damaged(where: object, reason: str) -> DataError:
    """The error of a shard whose bytes are not those that its list says."""
    return DataError(f"{where}: a damaged shard ({reason}); delete it and {AGAIN}")
