"""A Kaggle dataset's archive, downloaded through Kaggle's own client and verified here.

Reads: Kaggle. Writes, in the work folder, for each version downloaded:

    <owner>.<name>.v<version>.zip     the archive as it came (or .tar, .tar.gz, …), never unpacked
    <owner>.<name>.v<version>.json    its size, time and SHA-256: the record that it's verified
    <owner>.<name>.v<version>.part    a download in progress; its size and hashes in .part.json

The archive is hashed while it's written, and not read again: ``prepare`` checks every member as it
reads it. A zip gets a second name in ``data/raw``, a hard link.

The client signs in, finds the version and follows Kaggle's redirect to the storage. Its own saving
of the body is not used: on a resume it appends any response, an error page included, it trusts any
file of the right size, it has no read timeout, and it unpacks the archive.
"""

import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from colorizer.base.files import file_sha256, move_into_place, write_json
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive import repack_tar
from pipeline_steps.download.archive_check import DamageError, check_archive
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits
from pipeline_steps.download.kaggle_client import Dataset, ask_current_version, open_archive
from pipeline_steps.download.linking import link_or_copy
from pipeline_steps.download.resumable_download import PartialFile, with_retries

_SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_HANDLE = re.compile(rf"({_SLUG})/({_SLUG})(?:/versions/([1-9][0-9]{{0,8}}))?")


@dataclass(frozen=True, kw_only=True)
class KaggleDownload:
    """A verified archive on disk."""

    archive: Path
    """The zip or tar file as Kaggle served it."""
    handle: str
    """``owner/name``, without the version."""
    version: int
    bytes: int
    sha256: str
    """Of the archive, in hexadecimal."""


def download_kaggle(
    handle: str,
    work_folder: Path,
    *,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    retry_delay_s: float = 2.0,
    timeout_s: float = 60.0,
) -> KaggleDownload:
    """Download the archive of a Kaggle dataset to ``work_folder`` and verify it.

    ``handle`` is ``owner/name`` for the current version, or ``owner/name/versions/3``. A version
    that is there already isn't downloaded again: its size and time are compared with the record,
    and where these differ, its SHA-256. An interrupted download resumes where it stopped.
    Credentials come from kagglehub's usual places. A temporary failure is retried, ``NUM_TRIES``
    tries in all, ``retry_delay_s`` after the first failure, then twice as long each time, or when
    Kaggle says; ``timeout_s`` without a byte counts as a failure. Earlier versions in the folder
    are left alone.

    Raises:
        SourceError: the handle is malformed, Kaggle rejects the request or can't be reached, the
            archive is encrypted, holds more than ``limits`` allow, or came damaged (it's then
            removed, so the next run downloads it again).
        DiskSpaceError: the disk is too small.
    """
    dataset = parse_handle(handle)
    version = ask_version(handle, retry_delay_s=retry_delay_s, timeout_s=timeout_s)
    files = _VersionFiles(work_folder, dataset, version)
    if known := files.find_verified():
        return known
    work_folder.mkdir(parents=True, exist_ok=True)
    partial = PartialFile(files.path(".part"))
    with_retries(
        lambda: partial.fetch_rest(
            lambda first_byte: open_archive(files.dataset, first_byte, timeout_s)
        ),
        retry_delay_s,
    )
    return files.verify(partial, limits)


def write_pairs_zip(
    download: KaggleDownload, target: Path, limits: ArchiveLimits = DEFAULT_LIMITS
) -> str:
    """Make the downloaded archive the zip ``target``; return the SHA-256 of ``target``.

    A zip is linked, neither copied nor read; a tar is repacked. Raises :class:`SourceError` if the
    tar is over the limits or damaged (it's then removed, so the next run downloads it again).
    """
    if download.archive.suffix == ".zip":
        link_or_copy(download.archive, target)
        return download.sha256
    require_disk_space(target.parent, download.bytes, "a copy of the archive")
    try:
        repack_tar(download.archive, target, limits)
    except DamageError as damage:
        download.archive.unlink()
        raise _damaged(f"{download.handle} version {download.version}", damage) from None
    return file_sha256(target)


def ask_version(handle: str, *, retry_delay_s: float = 2.0, timeout_s: float = 60.0) -> int:
    """The version that a handle names, or the dataset's current one; raises SourceError."""
    dataset = parse_handle(handle)
    return dataset.version or with_retries(
        lambda: ask_current_version(dataset, timeout_s), retry_delay_s
    )


def parse_handle(handle: str) -> Dataset:
    """The dataset of ``owner/name[/versions/N]``; raises :class:`SourceError` for another text."""
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise SourceError(
            f"{handle!r} is no Kaggle dataset: write it as owner/name or owner/name/versions/3"
        )
    owner, name, version = match.groups()
    return Dataset(owner, name, int(version) if version else None)


def _damaged(dataset: Dataset | str, damage: DamageError) -> SourceError:
    return SourceError(
        f"the archive of {dataset} came damaged ({damage}) and was removed: run again to download"
        " it anew"
    )


class _VersionFiles:
    """The files of one version of a dataset in the work folder."""

    def __init__(self, folder: Path, dataset: Dataset, version: int) -> None:
        self.folder = folder
        self.version = version
        self.dataset = dataset._replace(version=version)

    def path(self, suffix: str) -> Path:
        # no owner's and no dataset's name has a dot
        owner, name, version = self.dataset
        return self.folder / f"{owner}.{name}.v{version}{suffix}"

    def find_verified(self) -> KaggleDownload | None:
        """Return the archive if it's still the recorded one; remove one that has changed.

        It's read only if its size or its time differs from the record.
        """
        record = self._read_record()
        if record is None:
            return None
        known, mtime_ns = record
        try:
            status = known.archive.stat()
        except FileNotFoundError:
            return None
        if (status.st_size, status.st_mtime_ns) == (known.bytes, mtime_ns):
            return known
        if file_sha256(known.archive) == known.sha256:
            self._write_record(known, status.st_mtime_ns)
            return known
        print(f"{known.archive} has changed: downloading it again", file=sys.stderr)
        known.archive.unlink()
        return None

    def verify(self, partial: PartialFile, limits: ArchiveLimits) -> KaggleDownload:
        """Check the hashes and the structure of a whole download and give it its final name.

        A damaged one is removed.
        """
        try:
            sha256 = partial.check_hashes()
            suffix = check_archive(partial.path, limits)
        except DamageError as damage:
            partial.remove()
            raise _damaged(self.dataset, damage) from None
        download = KaggleDownload(
            archive=self.path(suffix),
            handle=self.dataset.handle,
            version=self.version,
            bytes=partial.num_bytes,
            sha256=sha256,
        )
        # the record first: an archive without its record would be downloaded twice, while a
        # record without its archive does no harm
        self._write_record(download, partial.path.stat().st_mtime_ns)
        move_into_place(partial.path, download.archive)
        partial.remove()
        return download

    def _write_record(self, download: KaggleDownload, mtime_ns: int) -> None:
        record = asdict(download) | {"archive": download.archive.name, "mtime_ns": mtime_ns}
        write_json(self.path(".json"), record)

    def _read_record(self) -> tuple[KaggleDownload, int | None] | None:
        """The recorded download and its time; no time in a record of an earlier release."""
        try:
            record = json.loads(self.path(".json").read_text(encoding="utf-8"))
            mtime_ns = record.pop("mtime_ns", None)
            name = Path(record["archive"]).name  # whatever it says, the archive is in this folder
            return KaggleDownload(**record | {"archive": self.folder / name}), mtime_ns
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
