"""The directory of a zip, some thousand members at a time.

zipfile reads a directory whole: 0.7 KB a member. Here it gets one part of the directory after
another, each with an end that says it's all.
"""

import io
import mmap
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MEMBERS_AT_ONCE = 10_000
_ENTRY_BYTES = 46
_LENGTHS_AT = 28
"""Where an entry has the lengths of its name, extra field and comment."""
# by PKWARE's APPNOTE.TXT, 4.3.14 to 4.3.16; the last fields: size and place of the directory
_END64 = struct.Struct("<4sQ2H2L2Q2Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")


class _Directory(NamedTuple):
    start: int
    end: int


def read_members(path: Path) -> Iterator[zipfile.ZipInfo]:
    """Yield the members of a zip as ``zipfile.ZipFile(path).infolist()`` has them.

    Raises what zipfile raises for an archive that is missing or damaged. Of an archive with
    something in front of it or a comment at its end the directory is read whole.
    """
    with path.open("rb") as file:
        directory = _find_directory(file)
        if directory is None:
            with zipfile.ZipFile(path) as archive:
                yield from archive.infolist()
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for part in _parts(data, directory):
                with zipfile.ZipFile(_part_alone(data, part)) as archive:
                    yield from archive.infolist()


def _find_directory(file: io.BufferedReader) -> _Directory | None:
    """Where the directory lies; None unless the archive is as most writers make it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END64.size - _LOCATOR64.size - _END.size))
    tail = file.read()
    if len(tail) < _END.size:
        return None
    signature, *_, length, start, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6" or comment:
        return None
    end = size - _END.size
    locator = tail[-_END.size - _LOCATOR64.size : -_END.size]
    if locator.startswith(b"PK\6\7"):
        _, disk, _, num_disks = _LOCATOR64.unpack(locator)
        if not tail.startswith(b"PK\6\6") or (disk, num_disks) != (0, 1):
            return None
        *_, length, start = _END64.unpack(tail[: _END64.size])
        end -= _LOCATOR64.size + _END64.size
    return _Directory(start, end) if length and start + length == end else None


def _parts(data: mmap.mmap, directory: _Directory) -> Iterator[_Directory]:
    """Yield parts of whole entries; what is no entry stays with those in front of it."""
    start = place = directory.start
    num_entries = 0
    while place < directory.end:
        lengths = data[place + _LENGTHS_AT : place + _LENGTHS_AT + 6].ljust(6, b"\0")
        place = min(place + _ENTRY_BYTES + sum(struct.unpack("<3H", lengths)), directory.end)
        num_entries += 1
        if num_entries == MEMBERS_AT_ONCE or place == directory.end:
            yield _Directory(start, place)
            start, num_entries = place, 0


def _part_alone(data: mmap.mmap, part: _Directory) -> "_Shifted":
    """A part of the directory as the end of an archive."""
    end64 = _END64.pack(
        b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, 0, 0, part.end - part.start, part.start
    )
    locator = _LOCATOR64.pack(b"PK\6\7", 0, part.end, 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    return _Shifted(data[part.start : part.end] + end64 + locator + end, part.start)


class _Shifted(io.BytesIO):
    """The end of a file, at its place: what lies in front of it can't be read."""

    def __init__(self, data: bytes, start: int) -> None:
        super().__init__(data)
        self._start = start

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            place -= self._start
        return super().seek(place, whence) + self._start

    def tell(self) -> int:
        return super().tell() + self._start
