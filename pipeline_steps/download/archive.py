"""The user's own pairs: a zip, a tar or a folder, converted to the one raw format, a zip.

A zip is copied as it is; a tar or a folder is packed, uncompressed, into one whose bytes depend on
names and contents alone. Members are streamed. Links are never followed: they become links in the
zip, without content, so that ``prepare`` lists each with its reason.
"""

import hashlib
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from tqdm import tqdm

from colorizer.base.archive_damage import is_damage
from colorizer.base.files import atomic_path, file_sha256
from colorizer.base.zip_entries import TIMESTAMP, zip_entry
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive_check import DamageError, check_zip
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits, BoundedTarInfo
from pipeline_steps.download.hashing import READ_BYTES, HashingReader, StreamHashes


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...

    def close(self) -> None: ...


class _StrictTarInfo(BoundedTarInfo):
    """Accepts only the end mark as a tar's end; tarfile accepts any damaged header."""

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
    """The archive or folder that was read, and the zip that was written from it."""

    kind: str
    """``zip``, ``tar`` or ``folder``."""
    members: int
    links: int
    """Of a tar or a folder, not followed."""
    bytes: int
    """Size of the archive, or of all files of the folder."""
    sha256: str
    """Of the archive's bytes; of a folder, of its sorted names and contents."""
    pairs_zip_sha256: str
    """Of the zip that was written."""


def take_archive(path: Path, target: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveTaken:
    """Copy or pack ``path`` into the zip ``target``, whole or not at all.

    Raises :class:`SourceError` if it is missing, no archive, damaged, encrypted or over the limits,
    :class:`~pipeline_steps.base.errors.DiskSpaceError` if it doesn't fit on the disk.
    """
    kind = kind_of(path)
    if kind == "folder":
        return _pack_folder(path, target, limits)
    num_bytes = path.stat().st_size
    require_disk_space(target.parent, num_bytes, "a copy of the archive")
    try:
        if kind == "zip":
            members, links = check_zip(path, limits), 0
            sha256 = zip_sha256 = _copy_and_hash(path, target)
        else:
            members, links = repack_tar(path, target, limits)
            sha256, zip_sha256 = file_sha256(path), file_sha256(target)
    except DamageError as damage:
        raise SourceError(f"{path}: damaged {kind} ({damage}); get it again") from None
    return ArchiveTaken(
        kind=kind,
        members=members,
        links=links,
        bytes=num_bytes,
        sha256=sha256,
        pairs_zip_sha256=zip_sha256,
    )


def kind_of(path: Path) -> str:
    """Return ``zip``, ``tar`` or ``folder``; raises :class:`SourceError` for anything else."""
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; correct download.path")
    if not path.is_file():
        raise SourceError(f"{path}: neither a file nor a folder; correct download.path")
    try:
        # a tar whose last member is a zip ends like a zip, so the beginning decides
        with path.open("rb") as file:
            begins_as_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        if not begins_as_zip and is_tar(path):
            return "tar"
        if zipfile.is_zipfile(path):
            return "zip"
    except Exception as error:
        if not is_damage(error):
            raise
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
    return _hash_names_and_contents((name, file_sha256(file)) for name, file in files_in(path))


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative POSIX name, path) of the regular files below a folder, sorted by name.

    Links, devices, FIFOs and hidden files are skipped.
    """
    found = ((name, path) for name, path in _visible_in(folder) if not path.is_symlink())
    yield from sorted((name, path) for name, path in found if path.is_file())


def links_in(folder: Path) -> list[str]:
    """The relative POSIX names of the links below a folder, sorted; hidden ones are skipped."""
    return sorted(name for name, path in _visible_in(folder) if path.is_symlink())


def _visible_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of what isn't hidden, folders and links to them included."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *names):
            if not name.startswith("."):
                path = Path(parent, name)
                yield path.relative_to(folder).as_posix(), path


class RepackedTar(NamedTuple):
    """What was found in a tar."""

    files: int
    links: int


def repack_tar(path: Path, target: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> RepackedTar:
    """Pack a tar's regular files (any compression), and its links, into the zip ``target``.

    Devices and names that lead out of the archive are skipped. Raises
    :class:`DamageError`, which names the member, if the tar is damaged; :class:`SourceError` if it
    is over the limits.
    """
    num_files = num_links = 0
    place = "its first header"

    def members() -> Iterator[tuple[str, _Readable | None]]:
        nonlocal num_files, num_links, place
        names = set()
        with tarfile.open(path, tarinfo=_StrictTarInfo) as archive:
            for number, member in enumerate(archive, 1):
                limits.check(path, members=number, unpacked_bytes=0)
                # tarfile keeps all members to seek back to, which never happens here
                archive.members.clear()  # type: ignore[attr-defined]
                name = str(PurePosixPath(member.name))
                place = f"its member {name!r}"
                is_link = member.issym() or member.islnk()
                if not (is_link or member.isreg()) or not is_inside(name) or name in names:
                    place = f"what follows its member {name!r}"
                    continue
                names.add(name)
                if is_link:
                    num_links += 1
                    yield name, None
                else:
                    file = archive.extractfile(member)
                    assert file is not None  # regular files have content
                    num_files += 1
                    yield name, file
                place = f"what follows its member {name!r}"
            _check_tar_end(archive)

    try:
        _write_zip(path, target, members(), None, limits)
    except Exception as error:
        if not is_damage(error):
            raise
        raise DamageError(f"{place}: {error}") from None
    return RepackedTar(num_files, num_links)


def _check_tar_end(archive: tarfile.TarFile) -> None:
    """Read what follows the end mark: zeros, and the checksum of the compressor.

    Anything else there means that the end mark is a member's header, zeroed by damage.
    """
    file = archive.fileobj
    assert file is not None, "an open tar has its file"
    file.seek(archive.offset)
    while chunk := file.read(READ_BYTES):
        if chunk.count(0) != len(chunk):
            raise tarfile.ReadError("data after the end mark")


def _link_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.create_system = 3  # Unix, whose modes tell links
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def is_inside(name: str) -> bool:
    """Whether an archive member's name stays inside the archive's folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return bool(parts) and ".." not in parts and not parts[0].startswith("/")


def _pack_folder(path: Path, target: Path, limits: ArchiveLimits) -> ArchiveTaken:
    files, links = list(files_in(path)), links_in(path)
    if not files:
        raise SourceError(
            f"{path}: the folder holds no files, and {len(links)} links, which are not followed;"
            " give a folder with the files themselves"
        )
    num_bytes = sum(file.stat().st_size for _, file in files)
    limits.check(path, members=len(files), unpacked_bytes=num_bytes)
    require_disk_space(target.parent, num_bytes, "a copy of the pairs")
    hashes = [StreamHashes() for _ in files]
    members = (
        (name, HashingReader(file.open("rb"), file_hashes))
        for (name, file), file_hashes in zip(files, hashes, strict=True)
    )
    linked = ((name, None) for name in links)
    _write_zip(path, target, chain(members, linked), len(files) + len(links), limits)
    return ArchiveTaken(
        kind="folder",
        members=len(files),
        links=len(links),
        bytes=num_bytes,
        sha256=_hash_names_and_contents(
            (name, each.sha256()) for (name, _), each in zip(files, hashes, strict=True)
        ),
        pairs_zip_sha256=file_sha256(target),
    )


def _hash_names_and_contents(files: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, sha256 in files:
        digest.update(f"{name}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _copy_and_hash(path: Path, target: Path) -> str:
    """Copy a file, whole or not at all, reading it once; return its SHA-256."""
    hashes = StreamHashes()
    with (
        atomic_path(target) as partial,
        partial.open("wb") as copy,
        path.open("rb") as file,
    ):
        while chunk := file.read(READ_BYTES):
            hashes.update(chunk)
            copy.write(chunk)
    return hashes.sha256()


def _write_zip(
    source: Path,
    target: Path,
    members: Iterable[tuple[str, _Readable | None]],
    total: int | None,
    limits: ArchiveLimits,
) -> None:
    unpacked_bytes = 0
    with (
        atomic_path(target) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, file in tqdm(members, total=total, desc="pack", unit="file", mininterval=1):
            if file is None:
                archive.writestr(_link_entry(_portable(name)), b"")
                continue
            entry = zip_entry(_portable(name))
            with closing(file), archive.open(entry, "w", force_zip64=True) as packed:
                while chunk := file.read(READ_BYTES):
                    unpacked_bytes += len(chunk)
                    limits.check(source, members=0, unpacked_bytes=unpacked_bytes)
                    packed.write(chunk)


def _portable(name: str) -> str:
    """Escape the bytes of a name that are not UTF-8: a zip can't hold them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
