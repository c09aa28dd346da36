"""Where a batch's pictures go: a folder of this machine, or an ``s3://`` address.

Each file is written whole or not at all. A place also keeps a journal: lines that are added, and
read by the next run. Both kinds of places can be pickled: workers on other machines write their
pictures by themselves.
"""

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from colorizer.base import object_store
from colorizer.base.errors import ColorizerError, ObjectStoreError
from colorizer.base.files import remove_abandoned, write_bytes
from colorizer.jobs import JOURNALS, Job

FLUSH_LINES = 1000
FLUSH_S = 10.0
"""So much of a journal may be lost in a bucket when a run is killed; it is then done again."""


class Lines(ABC):
    """A journal's lines. Threads may share it."""

    @abstractmethod
    def read(self) -> bytes:
        """What runs of this shard have added so far."""

    @abstractmethod
    def read_all(self) -> Iterator[bytes]:
        """The same of all shards, in parts."""

    @abstractmethod
    def add(self, line: str) -> None:
        """Add a line, with its end."""

    @abstractmethod
    def close(self) -> None:
        """Write what isn't written yet."""


class Targets(ABC):
    """Pictures by their names, which are their jobs' ``target``."""

    @abstractmethod
    def open_lines(self, suffix: str) -> Lines:
        """The journal of a shard, whose names end in ``suffix``; it marks the place as ours.

        Raises :class:`ColorizerError` if nothing can be written there.
        """

    @abstractmethod
    def clear(self, jobs: Iterable[Job]) -> None:
        """Remove what a killed run left half written."""

    @abstractmethod
    def exists(self, target: str) -> bool:
        """Whether there is such a picture, as far as was known when the run began."""

    @abstractmethod
    def write(self, target: str, data: bytes) -> None:
        """Write a file. Raises :class:`ColorizerError`."""

    @abstractmethod
    def remove(self, target: str) -> None:
        """Remove a file, if it's there and that is allowed."""

    @abstractmethod
    def where(self, target: str) -> str:
        """A file as messages name it."""

    @abstractmethod
    def for_workers(self) -> Self:
        """The same, to be pickled, as far as :meth:`write` needs it."""


@dataclass(frozen=True)
class LocalTargets(Targets):
    """A folder."""

    folder: Path
    inputs: frozenset[str] = frozenset()
    """Names of files in it that are never replaced."""
    identities: frozenset[tuple[int, int]] = frozenset()
    """Of the same files, for names that they get later, or in another case; on this machine."""

    def open_lines(self, suffix: str) -> Lines:
        """A hidden file."""
        return _LocalLines(self.folder, suffix)

    def clear(self, jobs: Iterable[Job]) -> None:
        """Temporary files of killed writers."""
        for folder in {self.folder, *(self.folder.joinpath(job.target).parent for job in jobs)}:
            remove_abandoned(folder)

    def exists(self, target: str) -> bool:
        """Whether it is there now."""
        return (self.folder / target).is_file()

    def write(self, target: str, data: bytes) -> None:
        """Write a file. Raises :class:`ColorizerError` also where it would replace an input."""
        path = self.folder / target
        if self._is_input(target):
            raise ColorizerError(
                f"{path} is an input, which would be overwritten; choose another folder for -o"
            )
        try:
            write_bytes(path, data)
        except OSError as error:
            raise ColorizerError(f"can't write {path}: {error.strerror}") from None

    def remove(self, target: str) -> None:
        """Remove a file, if it's there."""
        if not self._is_input(target):
            with suppress(OSError):
                (self.folder / target).unlink()

    def where(self, target: str) -> str:
        """Its path."""
        return str(self.folder / target)

    def for_workers(self) -> Self:
        """By an absolute path: a worker may be in another folder, on other disks."""
        return replace(self, folder=self.folder.absolute(), identities=frozenset())

    def protecting(self, files: Iterable[Path], jobs: Iterable[Job]) -> Self:
        """The same, but those files are never replaced, by whatever name they are in the folder."""
        kept = frozenset(filter(None, map(_identify, files)))
        folders = {self.folder, *(self.folder.joinpath(job.target).parent for job in jobs)}
        inputs = {
            path.relative_to(self.folder).as_posix()
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if _identify(path) in kept
        }
        return replace(self, inputs=frozenset(inputs), identities=kept)

    def _is_input(self, target: str) -> bool:
        return target in self.inputs or _identify(self.folder / target) in self.identities


def _identify(path: Path) -> tuple[int, int] | None:
    """Device and inode: equal for all names of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _LocalLines(Lines):
    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = folder
        self.path = folder / f".colorize{suffix}.jsonl"
        self._lock = threading.Lock()
        try:
            self.path.touch()
        except OSError as error:
            raise ColorizerError(
                f"{folder}: can't write there ({error.strerror}); choose another folder for -o"
            ) from None

    def read(self) -> bytes:
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):  # a killed writer's last line
            with self.path.open("ab") as file:
                file.write(b"\n")
        return data

    def read_all(self) -> Iterator[bytes]:
        for path in self.folder.glob(JOURNALS):
            yield path.read_bytes()

    def add(self, line: str) -> None:
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class StoredTargets(Targets):
    """Files whose addresses begin with a prefix, which ends in a slash."""

    prefix: str

    def open_lines(self, suffix: str) -> Lines:
        """Hidden files: one cannot be added to, so each holds the lines of some seconds."""
        return _StoredLines(self.prefix, suffix)

    def clear(self, jobs: Iterable[Job]) -> None:
        """Nothing: half a file is never stored."""

    def exists(self, target: str) -> bool:
        """Whether it was there when this was asked first."""
        return self.prefix + target in self._listed

    @cached_property
    def _listed(self) -> set[str]:
        return {stored.address for stored in object_store.list_files(self.prefix)}

    def write(self, target: str, data: bytes) -> None:
        """Store a file."""
        object_store.write_bytes(self.prefix + target, data)

    def remove(self, target: str) -> None:
        """Delete a file, if it's there and that is allowed."""
        with suppress(ObjectStoreError):
            object_store.delete(self.prefix + target)

    def where(self, target: str) -> str:
        """Its address."""
        return self.prefix + target

    def for_workers(self) -> Self:
        """Without the list."""
        return replace(self)


class _StoredLines(Lines):
    def __init__(self, prefix: str, suffix: str) -> None:
        self.prefix = f"{prefix}.colorize"
        self.own = f"{self.prefix}{suffix}."
        self._parts = [
            stored.address
            for stored in object_store.list_files(self.prefix)
            if stored.address.endswith(".jsonl")
        ]
        self._run = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        self._lines: list[str] = []
        self._number = 0
        self._flushed_s = time.monotonic()
        self._lock = threading.Lock()
        self._flush()  # known now, not after hours, if it's refused

    def read(self) -> bytes:
        parts = [part for part in self._parts if part.startswith(self.own)]
        return b"".join(map(object_store.read_bytes, parts))

    def read_all(self) -> Iterator[bytes]:
        return map(object_store.read_bytes, self._parts)

    def add(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            is_due = time.monotonic() - self._flushed_s > FLUSH_S
            if is_due or len(self._lines) >= FLUSH_LINES:
                self._flush()

    def close(self) -> None:
        with self._lock:
            if self._lines:
                self._flush()

    def _flush(self) -> None:
        address = f"{self.own}{self._run}-{self._number:06}.jsonl"
        object_store.write_bytes(address, "".join(self._lines).encode())
        self._lines, self._number = [], self._number + 1
        self._flushed_s = time.monotonic()
