"""Stage 1: a source of pairs → data/raw/pairs.zip, and source.json that says what was taken.

The source is drawn (sample), fetched (kaggle) or copied (archive) as ``params.yaml`` says. Whatever
it was, one zip is left, which prepare reads in place.
"""

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_steps.atomic import atomic_path, write_json
from pipeline_steps.errors import SourceError
from pipeline_steps.params import DownloadParams, read_params
from pipeline_steps.room import require_room
from pipeline_steps.sources.archive import is_tar, repack_tar, take_archive
from pipeline_steps.sources.archive_limits import ArchiveLimits
from pipeline_steps.sources.kaggle import download_kaggle
from pipeline_steps.sources.sample import write_sample

RAW = Path("data/raw")
WORK = Path(".work/download")


def main() -> None:
    """Take the pairs that ``params.yaml`` names."""
    params = read_params().download
    pairs = RAW / "pairs.zip"
    take = {"sample": take_sample, "kaggle": take_kaggle, "archive": take_path}[params.source]
    source = {"source": params.source, **take(params, pairs)}
    source |= {"pairs_zip_sha256": sha256_of(pairs), "pairs_zip_bytes": pairs.stat().st_size}
    write_json(RAW / "source.json", source)
    print(f"download: {source['origin']}, {source['bytes'] / 1e6:.1f} MB")


def take_sample(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Draw the sample."""
    write_sample(
        pairs,
        train_pairs=params.sample_train_pairs,
        test_pairs=params.sample_test_pairs,
        seed=params.sample_seed,
    )
    return {
        "origin": "drawn by this project",
        "version": str(params.sample_seed),
        "bytes": pairs.stat().st_size,
        "sha256": sha256_of(pairs),
    }


def take_kaggle(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Fetch the Kaggle dataset's archive; it stays in the work folder, so a rerun is cheap."""
    limits = limits_of(params)
    taken = download_kaggle(params.kaggle_dataset, WORK, limits=limits)
    require_room(RAW, taken.bytes, "a copy of the archive")
    if is_tar(taken.archive):
        repack_tar(taken.archive, pairs, limits)
    else:
        with atomic_path(pairs) as partial:
            shutil.copyfile(taken.archive, partial)
    return {
        "origin": f"https://www.kaggle.com/datasets/{taken.handle}",
        "version": str(taken.version),
        "bytes": taken.bytes,
        "sha256": taken.sha256,
    }


def take_path(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Copy an archive or a folder of the user's own."""
    if params.path is None:
        raise SourceError("download.path: must name a zip, tar or folder when source is archive")
    path = Path(params.path).expanduser()
    taken = take_archive(path, pairs, limits_of(params))
    return {"origin": str(path), "version": taken.sha256[:12], **asdict(taken)}


def limits_of(params: DownloadParams) -> ArchiveLimits:
    """What an archive may hold."""
    return ArchiveLimits(
        members=params.max_members, unpacked_bytes=int(params.max_unpacked_gb * 1e9)
    )


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
