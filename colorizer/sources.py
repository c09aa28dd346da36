"""Where a batch's sketches come from: files on this machine, or an ``s3://`` address.

What is read is known by a stamp, which changes when the sketch or its hints do. Both kinds can be
pickled: workers on other machines read the sketches by themselves.
"""

import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Self, TypeAlias

from colorizer.base import object_store
from colorizer.base.errors import ColorizerError, PictureError
from colorizer.hints.files import find_hints
from colorizer.jobs import Found, Job, find_stored_jobs, hints_by_stem
from colorizer.pictures.comic_book import find_book, open_book, read_page, refuse_other_book
from colorizer.pictures.decoding import SUFFIXES
from colorizer.pictures.decoding_limits import MAX_MEMBER_BYTES

Stamp: TypeAlias = list[int | str]


class Sketches(ABC):
    """Sketches by their names, which are their jobs' ``source``."""

    @abstractmethod
    def stamp(self, source: str) -> Stamp:
        """What changes when the sketch or its hints do. Raises :class:`OSError` without them."""

    @abstractmethod
    def open(self, job: Job) -> tuple[Stamp, Path | bytes]:
        """A sketch's stamp, and its path or bytes; of a page in a .cbz its bytes.

        Raises :class:`PictureError` for what is empty, damaged or too large, and
        :class:`ColorizerError` for what can't be read now.
        """

    @abstractmethod
    def open_hints(self, source: str) -> AbstractContextManager[Path | None]:
        """Yield the file of hints beside a sketch, for the time of a block; None without one."""

    @abstractmethod
    def where(self, source: str) -> str:
        """A sketch as messages name it."""

    def for_workers(self) -> Self:
        """The same, to be pickled, without what only :meth:`stamp` needs."""
        return self


@dataclass(frozen=True)
class LocalSketches(Sketches):
    """Sketches in a folder or a .cbz, or, with an empty path, anywhere."""

    path: Path

    def stamp(self, source: str) -> Stamp:
        """Sizes and modification times, see :func:`size_and_mtime`."""
        return size_and_mtime(self.path / source)

    def open(self, job: Job) -> tuple[Stamp, Path | bytes]:
        """A sketch's path; of a page in a .cbz its bytes."""
        source = self.path / job.source
        if job.member is None:
            check_file(source)
            stamp = size_and_mtime(source)
            if source.suffix.lower() not in SUFFIXES:
                refuse_other_book(source)
            return stamp, source
        book = find_book(source) if job.member else source
        if book is None:
            raise ColorizerError("no longer there")
        stamp = check_file(book)
        if not job.member:
            open_book(book)  # which failed before
            raise ColorizerError("changed while it was read; run the same command again")
        return stamp, read_page(book, job.member)

    @contextmanager
    def open_hints(self, source: str) -> Iterator[Path | None]:
        """The file itself."""
        yield find_hints(self.path / source)

    def where(self, source: str) -> str:
        """Its path."""
        return str(self.path / source)

    def for_workers(self) -> Self:
        """By an absolute path: a worker's working folder is another one."""
        return replace(self, path=self.path.absolute())


@dataclass(frozen=True)
class StoredSketches(Sketches):
    """Sketches whose addresses begin with a prefix, which ends in a slash."""

    prefix: str
    stamps: dict[str, Stamp] = field(repr=False)
    """Name → size and entity tag, as they were listed; of hints, too."""
    hints: dict[str, str] = field(repr=False)
    """Sketch without its suffix → its file of hints."""

    @classmethod
    def list(cls, address: str) -> Self:
        """List all files. Raises :class:`~colorizer.base.errors.ObjectStoreError`."""
        prefix = object_store.join(address, "")
        object_store.require_bucket(prefix)
        stamps: dict[str, Stamp] = {
            stored.address.removeprefix(prefix): [stored.num_bytes, stored.etag]
            for stored in object_store.list_files(prefix)
        }
        return cls(prefix, stamps, hints_by_stem(stamps))

    def find_jobs(self, suffix: str, output: str) -> Found:
        """As :func:`colorizer.jobs.find_jobs`; a .cbz isn't taken.

        ``output``: the pictures' address, or empty if they go to this machine's disk.
        """
        below = output.removeprefix(self.prefix) if output.startswith(self.prefix) else ""
        return find_stored_jobs(self.prefix, self.stamps, suffix, below)

    def stamp(self, source: str) -> Stamp:
        """Its size and entity tag, then those of its hints."""
        names = [source, *filter(None, [self._hints_of(source)])]
        try:
            return [value for name in names for value in self.stamps[name]]
        except KeyError:
            raise FileNotFoundError(source) from None

    def open(self, job: Job) -> tuple[Stamp, Path | bytes]:
        """A sketch's bytes."""
        names = [job.source, *filter(None, [self._hints_of(job.source)])]
        found = [object_store.find_file(self.where(name)) for name in names]
        if not found[0]:
            raise ColorizerError("no longer there")
        if found[0].num_bytes == 0:
            raise PictureError("the file is empty")
        if found[0].num_bytes > MAX_MEMBER_BYTES:
            raise PictureError(
                f"too large: {found[0].num_bytes} bytes, at most {MAX_MEMBER_BYTES} are read"
            )
        stamp = [value for stored in found if stored for value in (stored.num_bytes, stored.etag)]
        return stamp, object_store.read_bytes(found[0].address)

    @contextmanager
    def open_hints(self, source: str) -> Iterator[Path | None]:
        """A copy, which is removed after the block."""
        if (name := self._hints_of(source)) is None:
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, PurePosixPath(name).name)
            object_store.download(self.where(name), path)
            yield path

    def where(self, source: str) -> str:
        """Its address."""
        return self.prefix + source

    def for_workers(self) -> Self:
        """Without the stamps, which are many."""
        return replace(self, stamps={})

    def _hints_of(self, source: str) -> str | None:
        return self.hints.get(str(PurePosixPath(source).with_suffix("")))


def size_and_mtime(path: Path) -> Stamp:
    """A file's size in bytes and modification time in ns: of a page in a .cbz, of that.

    Then those of its hints, if there are any. Raises :class:`OSError`.
    """
    files = [find_book(path) or path, *filter(None, [find_hints(path)])]
    statuses = [file.stat() for file in files]
    return [value for status in statuses for value in (status.st_size, status.st_mtime_ns)]


def check_file(path: Path) -> Stamp:
    """A sketch's size and modification time, after a look at whether it can be read at all.

    Raises :class:`PictureError` for an empty file, and :class:`ColorizerError` for what isn't a
    file or can't be read now.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise ColorizerError("not a file but a pipe, socket or device")
        path.open("rb").close()
    except FileNotFoundError:
        is_link = path.is_symlink()
        reason = "a link to a file that doesn't exist" if is_link else "no longer there"
        raise ColorizerError(reason) from None
    except OSError as error:
        raise ColorizerError(f"can't be read: {error.strerror}") from None
    if status.st_size == 0:
        raise PictureError("the file is empty")
    return [status.st_size, status.st_mtime_ns]
