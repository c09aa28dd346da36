"""The directory of a zip, in a file: a process that opens the zip by it holds no member in memory.

zipfile keeps an object of 0.7 KB a member in every process that opens an archive.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_steps.prepare.records import Codec, Records, write_records
from pipeline_steps.prepare.zip_directory import read_members

_FIELDS = (
    "orig_filename",
    "flag_bits",
    "compress_type",
    "CRC",
    "compress_size",
    "file_size",
    "header_offset",
    "external_attr",
    *(("_end_offset",) if hasattr(zipfile.ZipInfo(), "_end_offset") else ()),
)
"""What zipfile and we need of a member to read it; newer zipfiles check that none overlaps."""
_NO_MEMBERS = b"PK\5\6" + bytes(18)


@dataclass(frozen=True, kw_only=True)
class IndexedArchive:
    """A zip and its members, in the order of its directory."""

    path: Path
    members: Records[zipfile.ZipInfo]

    def absolute(self) -> "IndexedArchive":
        """The same by absolute paths, for a process with another working folder."""
        members = Records(self.members.path.absolute(), self.members.codec)
        return IndexedArchive(path=self.path.absolute(), members=members)

    def open(self) -> zipfile.ZipFile:
        """Open the archive, to be read, with ``members`` as its ``infolist()``."""
        return _Opened(self)


class _Opened(zipfile.ZipFile):
    def __init__(self, archive: IndexedArchive) -> None:
        super().__init__(io.BytesIO(_NO_MEMBERS))
        self.fp = archive.path.open("rb")
        self.filelist = archive.members.mapped()  # type: ignore[assignment]

    def close(self) -> None:
        file = self.fp
        super().close()
        if file:
            file.close()


def index_archive(path: Path, work_folder: Path) -> IndexedArchive:
    """Write the directory of a zip into ``work_folder``.

    Raises what ``zipfile.ZipFile`` raises for an archive that is missing or damaged.
    """
    members = write_records(work_folder / "members", read_members(path), _MEMBER)
    return IndexedArchive(path=path, members=members)


def _encode(member: zipfile.ZipInfo) -> list[Any]:
    return [member.filename, *(getattr(member, field) for field in _FIELDS)]


def _decode(values: list[Any]) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(values[0])
    for field, value in zip(_FIELDS, values[1:], strict=True):
        setattr(member, field, value)
    return member


_MEMBER = Codec(_encode, _decode)
