"""A Kaggle dataset's archive, downloaded with Kaggle's own client and checked by us.

Reads: Kaggle. Writes, in the work folder, for each version downloaded:

    <owner>.<name>.v<version>.zip     the archive as it came (or .tar, .tar.gz, …), never unpacked
    <owner>.<name>.v<version>.json    its size and SHA-256: what makes it known as verified
    <owner>.<name>.v<version>.part    a download under way, with its promise in .part.json

The client signs in, names the version and follows Kaggle to the storage. Its own way of saving
what comes is not used: on a resume it appends whatever the server answers, an error page
included, it trusts any file that has the right size, it waits for ever on a silent server, and
it unpacks the archive.
"""

import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from colorizer.base.files import file_sha256, move_into_place, write_json
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive_check import DamageError, check_archive
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS, ArchiveLimits
from pipeline_steps.download.kaggle_client import Dataset, ask_current_version, open_archive
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
    """Have the archive of a Kaggle dataset in ``work_folder``, verified.

    ``handle`` is ``owner/name`` for the current version, or ``owner/name/versions/3``. A version
    that lies there already and still has its SHA-256 isn't downloaded again; a broken download
    goes on from where it stopped. Credentials come from kagglehub's usual places. What can pass
    by itself is tried ``NUM_TRIES`` times, ``retry_delay_s`` after the first failure, then twice
    as long each time, or when Kaggle says; ``timeout_s`` of silence counts as a failure. Earlier
    versions in the folder are left alone.

    Raises:
        SourceError: the handle is no handle, Kaggle refuses or can't be reached, the archive holds
            more than ``limits`` allow, or came damaged (it's then removed, so the next run starts
            anew).
        DiskSpaceError: the disk is too small.
    """
    dataset = _parse_handle(handle)
    version = ask_version(handle, retry_delay_s=retry_delay_s, timeout_s=timeout_s)
    shelf = _Shelf(work_folder, dataset, version)
    if known := shelf.find_verified():
        return known
    work_folder.mkdir(parents=True, exist_ok=True)
    partial = PartialFile(shelf.path(".part"))
    with_retries(
        lambda: partial.fetch_rest(
            lambda first_byte: open_archive(shelf.dataset, first_byte, timeout_s)
        ),
        retry_delay_s,
    )
    return shelf.accept(partial, limits)


def ask_version(handle: str, *, retry_delay_s: float = 2.0, timeout_s: float = 60.0) -> int:
    """The version that a handle names, or the dataset's current one; raises SourceError."""
    dataset = _parse_handle(handle)
    return dataset.version or with_retries(
        lambda: ask_current_version(dataset, timeout_s), retry_delay_s
    )


def _parse_handle(handle: str) -> Dataset:
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise SourceError(
            f"{handle!r} is no Kaggle dataset: write it as owner/name or owner/name/versions/3"
        )
    owner, name, version = match.groups()
    return Dataset(owner, name, int(version) if version else None)


class _Shelf:
    """The files of one version of a dataset in the work folder."""

    def __init__(self, folder: Path, dataset: Dataset, version: int) -> None:
        self.folder = folder
        self.version = version
        self.dataset = dataset._replace(version=version)

    def path(self, suffix: str) -> Path:
        # A dot is in no owner's and no dataset's name.
        owner, name, version = self.dataset
        return self.folder / f"{owner}.{name}.v{version}{suffix}"

    def find_verified(self) -> KaggleDownload | None:
        """Return the archive if it's still the one recorded; remove one that has changed."""
        known = self._read_record()
        if known is None or not known.archive.exists():
            return None
        if file_sha256(known.archive) == known.sha256:
            return known
        print(f"{known.archive} has changed: downloading it again", file=sys.stderr)
        known.archive.unlink()
        return None

    def accept(self, partial: PartialFile, limits: ArchiveLimits) -> KaggleDownload:
        """Verify what came and give it its final name; remove it if it's damaged."""
        try:
            sha256 = partial.check_hashes()
            suffix = check_archive(partial.path, limits)
        except DamageError as damage:
            partial.drop()
            raise SourceError(
                f"the archive of {self.dataset} came damaged ({damage}) and was removed: run again"
                " to download it anew"
            ) from None
        download = KaggleDownload(
            archive=self.path(suffix),
            handle=self.dataset.handle,
            version=self.version,
            bytes=partial.num_bytes,
            sha256=sha256,
        )
        # The record first: without its archive it says nothing, and an archive without its
        # record would be downloaded twice.
        write_json(self.path(".json"), asdict(download) | {"archive": download.archive.name})
        move_into_place(partial.path, download.archive)
        partial.drop()
        return download

    def _read_record(self) -> KaggleDownload | None:
        try:
            record = json.loads(self.path(".json").read_text(encoding="utf-8"))
            name = Path(record["archive"]).name  # whatever it says, it lies here
            return KaggleDownload(**record | {"archive": self.folder / name})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
