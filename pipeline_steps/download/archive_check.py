"""Checks that a file is a whole archive within the limits; no member is read to its end.

A damaged member fails its own checksum where it's read: a zip's in ``prepare``, which names it in
the manifest, a tar's while it's repacked.
"""

import tarfile
import zipfile
from pathlib import Path

from colorizer.base.archive_damage import is_damage
from colorizer.base.zip_entries import is_encrypted, list_files
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits, BoundedTarInfo

_TAR_SUFFIXES = {b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ": ".tar.xz"}


class DamageError(Exception):
    """A file is not the archive that was sent; the message says how that shows."""


def check_archive(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> str:
    """Check a zip's directory, or that a tar begins as one; return the suffix of its kind.

    Raises :class:`DamageError` if it's neither, :class:`~pipeline_steps.base.errors.SourceError`
    as :func:`check_zip`.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        if not check_zip(path, limits):
            raise DamageError("it holds no file")
        return ".zip"
    try:
        with tarfile.open(path, tarinfo=BoundedTarInfo) as archive:
            if archive.next() is None:
                raise DamageError("it holds no file")
    except Exception as error:
        if not is_damage(error):
            raise
        raise DamageError("it is no whole zip or tar file") from None
    return next((s for m, s in _TAR_SUFFIXES.items() if magic.startswith(m)), ".tar")


def check_zip(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> int:
    """Check a zip's directory and the position of its members; return the number of files.

    Raises :class:`DamageError` for a broken directory,
    :class:`~pipeline_steps.base.errors.SourceError` for an encrypted zip or one over the limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = list_files(archive)
            unpacked_bytes = sum(entry.file_size for entry in entries)
            limits.check(path, members=len(entries), unpacked_bytes=unpacked_bytes)
            if any(map(is_encrypted, entries)):
                raise SourceError(
                    f"{path}: encrypted; unpack it with its password and give the folder"
                )
            _check_positions(archive, entries)
    except Exception as error:
        if not is_damage(error):
            raise
        raise DamageError(f"its directory is broken: {error}") from None
    return len(entries)


def _check_positions(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Raise unless the first or the last member's header is where the directory says.

    A single damaged header is left to ``prepare``, which rejects that member alone.
    """
    if not entries:
        return
    for entry in (entries[0], entries[-1]):
        try:
            archive.open(entry).close()
        except Exception as error:
            if not is_damage(error):
                raise
        else:
            return
    raise zipfile.BadZipFile("it points at no member")
