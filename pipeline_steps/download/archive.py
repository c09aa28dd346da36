"""Other people's pairs: a zip, a tar or a folder, brought to the one raw format, a zip.

A zip is copied as it is; a tar or a folder is packed, uncompressed, into one whose bytes depend on
names and contents alone. Members are streamed, links are never followed.
"""

import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from colorizer.base.files import atomic_path, file_sha256
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits, BoundedTarInfo

TIMESTAMP = (2024, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20
_TAR_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


class _StrictTarInfo(BoundedTarInfo):
    """Takes only the end mark for a tar's end; tarfile takes any damaged header for it."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(
                f"neither a member nor the end mark at byte {archive.offset}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class ArchiveTaken:
    """What was taken from where it lay."""

    kind: str
    """``zip``, ``tar`` or ``folder``."""
    members: int
    bytes: int
    """Size of the archive, or of all files of the folder."""
    sha256: str
    """Of the archive's bytes; of a folder, of its sorted names and contents."""


def take_archive(path: Path, target: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveTaken:
    """Copy or pack ``path`` into the zip ``target``, whole or not at all.

    Raises :class:`SourceError` if it is missing, no archive, damaged, encrypted or over the limits,
    :class:`~pipeline_steps.base.errors.DiskSpaceError` if it doesn't fit on the disk.
    """
    kind = kind_of(path)
    if kind == "folder":
        files = list(files_in(path))
        if not files:
            raise SourceError(f"{path}: the folder holds no files (links are not followed)")
        total = sum(file.stat().st_size for _, file in files)
        limits.check(path, members=len(files), unpacked_bytes=total)
        require_disk_space(target.parent, total, "a copy of the pairs")
        members_of = ((name, file.open("rb")) for name, file in files)
        _write_zip(path, target, members_of, len(files), limits)
        return ArchiveTaken(kind=kind, members=len(files), bytes=total, sha256=content_sha256(path))
    require_disk_space(target.parent, path.stat().st_size, "a copy of the archive")
    members = repack_tar(path, target, limits) if kind == "tar" else _copy_zip(path, target, limits)
    return ArchiveTaken(
        kind=kind, members=members, bytes=path.stat().st_size, sha256=content_sha256(path)
    )


def kind_of(path: Path) -> str:
    """Tell ``zip``, ``tar`` or ``folder``; raises :class:`SourceError` for anything else."""
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; correct download.path")
    if not path.is_file():
        raise SourceError(f"{path}: neither a file nor a folder; correct download.path")
    try:
        # a tar whose last member is a zip ends like a zip: the beginning decides
        with path.open("rb") as file:
            begins_as_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        if not begins_as_zip and is_tar(path):
            return "tar"
        if zipfile.is_zipfile(path):
            return "zip"
    except _TAR_DAMAGE as error:
        raise SourceError(f"{path}: can't be read ({error})") from None
    raise SourceError(
        f"{path}: neither a zip nor a tar, or cut short; give a zip, a tar or a folder of pairs"
    )


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar, compressed or not. Raises :class:`SourceError` for a bomb."""
    try:
        with tarfile.open(path, tarinfo=BoundedTarInfo):
            return True
    except tarfile.TarError:
        return False


def content_sha256(path: Path) -> str:
    """Hash a source without copying it, so that a change can be noticed."""
    if not path.is_dir():
        return file_sha256(path)
    digest = hashlib.sha256()
    for name, file in files_in(path):
        digest.update(f"{name}\0{file_sha256(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative POSIX name, path) of the regular files below a folder, sorted by name.

    Links, devices, FIFOs and hidden files are passed over.
    """
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                found.append((path.relative_to(folder).as_posix(), path))
    yield from sorted(found)


def repack_tar(path: Path, target: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> int:
    """Pack a tar's regular files (any compression) into the zip ``target``; return their number.

    Links and devices are passed over, so are names that lead out of the archive. Raises
    :class:`SourceError` if the tar is damaged or over the limits.
    """
    count = 0

    def members() -> Iterator[tuple[str, IO[bytes]]]:
        nonlocal count
        names = set()
        with tarfile.open(path, tarinfo=_StrictTarInfo) as archive:
            for number, member in enumerate(archive, 1):
                limits.check(path, members=number, unpacked_bytes=0)
                # it keeps all it has seen, to seek back to; we never do
                archive.members.clear()  # type: ignore[attr-defined]
                name = str(PurePosixPath(member.name))
                if member.isreg() and is_inside(name) and name not in names:
                    names.add(name)
                    file = archive.extractfile(member)
                    assert file is not None  # regular files have content
                    count += 1
                    yield name, file

    try:
        _write_zip(path, target, members(), None, limits)
    except _TAR_DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise SourceError(f"{path}: damaged tar ({error}); get it again") from None
    return count


def is_inside(name: str) -> bool:
    """Whether an archive member's name stays inside the archive's folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return bool(parts) and ".." not in parts and not parts[0].startswith("/")


def _copy_zip(path: Path, target: Path, limits: ArchiveLimits) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceError(f"{path}: damaged zip ({error}); get it again") from None
    unpacked_bytes = sum(entry.file_size for entry in entries)
    limits.check(path, members=len(entries), unpacked_bytes=unpacked_bytes)
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise SourceError(f"{path}: encrypted; unpack it with its password and give the folder")
    with atomic_path(target) as partial:
        shutil.copyfile(path, partial)
    return len(entries)


def _write_zip(
    source: Path,
    target: Path,
    members: Iterable[tuple[str, IO[bytes]]],
    total: int | None,
    limits: ArchiveLimits,
) -> None:
    unpacked_bytes = 0
    with (
        atomic_path(target) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, file in tqdm(members, total=total, desc="pack", unit="file", mininterval=1):
            entry = zipfile.ZipInfo(_portable(name), TIMESTAMP)
            entry.external_attr = 0o644 << 16
            with file, archive.open(entry, "w", force_zip64=True) as packed:
                while chunk := file.read(_CHUNK_BYTES):
                    unpacked_bytes += len(chunk)
                    limits.check(source, members=0, unpacked_bytes=unpacked_bytes)
                    packed.write(chunk)


def _portable(name: str) -> str:
    """Spell out the bytes of a name that are not UTF-8: a zip can't hold them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
