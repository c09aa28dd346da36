"""Limits of an archive, so that a zip or tar bomb fills neither disk nor memory."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from pipeline_steps.base.errors import SourceError

MAX_HEADER_BYTES = 1 << 20
"""Of a tar's extended header, which tarfile reads whole; names and times need a few hundred."""
_EXTENDED_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """``download.max_members`` and ``download.max_unpacked_gb``, the latter in bytes."""

    members: int
    unpacked_bytes: int

    def check(self, path: Path, *, members: int, unpacked_bytes: int) -> None:
        """Raise :class:`SourceError` if the counts so far exceed the limits."""
        if members > self.members:
            raise SourceError(
                f"{path}: more than {self.members} files; if they are meant, raise"
                " download.max_members"
            )
        if unpacked_bytes > self.unpacked_bytes:
            raise SourceError(
                f"{path}: more than {self.unpacked_bytes / 1e9:g} GB unpacked; if that is meant,"
                " raise download.max_unpacked_gb"
            )


DEFAULT_LIMITS = ArchiveLimits(members=1_000_000, unpacked_bytes=100_000_000_000)


class BoundedTarInfo(tarfile.TarInfo):
    """Raises :class:`SourceError` for a large header, which tarfile would read into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED_HEADERS and self.size > MAX_HEADER_BYTES:
            raise SourceError(
                f"{archive.name!s}: a tar with a name or header of {self.size} bytes, which no file"
                " needs; get it again"
            )
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member
