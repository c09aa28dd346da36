"""Is a downloaded file the whole archive? Its own checksums tell, read member by member."""

import errno
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits, BoundedTarInfo

READ_BYTES = 1024 * 1024
_TAR_SUFFIXES = {b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ": ".tar.xz"}
_TAR_BLOCK_BYTES = 512
# What zipfile, tarfile and the decompressors raise, RuntimeError for an encrypted member.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
)


class DamageError(Exception):
    """A file is not the archive that was sent; the message says how that shows."""


def check_archive(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> str:
    """Read every member of a zip or a tar to its end; return the suffix of its kind.

    Raises :class:`DamageError` if a checksum fails, an end is missing or nothing is inside,
    :class:`~pipeline_steps.base.errors.SourceError` if it holds more than the limits allow.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    try:
        if magic.startswith(b"PK"):
            num_members, suffix = _read_zip(path, limits), ".zip"
        else:
            num_members = _read_tar(path, limits)
            suffix = next((s for m, s in _TAR_SUFFIXES.items() if magic.startswith(m)), ".tar")
    except _DAMAGE:
        raise DamageError("it is no whole zip or tar file") from None
    except OSError as error:
        # A bare one is from gzip or bz2, an EINVAL from zipfile seeking before the start.
        if error.errno not in {None, errno.EINVAL}:
            raise
        raise DamageError("its compression or its directory is broken") from None
    if not num_members:
        raise DamageError("it holds no file")
    return suffix


def _read_zip(path: Path, limits: ArchiveLimits) -> int:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked_bytes = sum(entry.file_size for entry in entries)
        limits.check(path, members=len(entries), unpacked_bytes=unpacked_bytes)
        for member in archive.infolist():
            try:
                with archive.open(member) as file:
                    _read_to_end(file)
            except _DAMAGE:
                raise DamageError(f"its member {member.filename!r} fails its checksum") from None
        return len(archive.infolist())


def _read_tar(path: Path, limits: ArchiveLimits) -> int:
    num_members, unpacked_bytes = 0, 0
    with tarfile.open(path, tarinfo=BoundedTarInfo) as archive:
        for member in archive:
            num_members += 1
            unpacked_bytes += member.size
            limits.check(path, members=num_members, unpacked_bytes=unpacked_bytes)
            if file := archive.extractfile(member) if member.isreg() else None:
                _read_to_end(file)
        _check_tar_end(archive)
    return num_members


def _check_tar_end(archive: tarfile.TarFile) -> None:
    """Make sure that the tar ends where ``tarfile`` stopped.

    It takes a broken header for the end. After the true one, zeros follow, at least a block.
    """
    file = archive.fileobj
    assert file is not None, "an open tar has its file"
    file.seek(archive.offset)
    num_zeros = 0
    while chunk := file.read(READ_BYTES):
        if chunk.count(0) != len(chunk):
            raise DamageError("its tar headers are broken")
        num_zeros += len(chunk)
    if num_zeros < _TAR_BLOCK_BYTES:
        raise DamageError("its tar end is missing")


def _read_to_end(file: IO[bytes]) -> None:
    while file.read(READ_BYTES):
        pass
