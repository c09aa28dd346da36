"""Stage 1: a source of pairs → data/raw/pairs.zip, and source.json that records the source.

The source is drawn (sample), downloaded (kaggle) or copied (archive), as ``params.yaml`` says. Each
becomes one zip, which prepare reads in place.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from colorizer.base.files import file_sha256, write_json
from pipeline_steps.base.errors import SourceError
from pipeline_steps.base.paths import DOWNLOAD_WORK, RAW
from pipeline_steps.download.archive import take_archive
from pipeline_steps.download.archive_limits import ArchiveLimits
from pipeline_steps.download.kaggle import download_kaggle, write_pairs_zip
from pipeline_steps.download.sample import write_sample
from pipeline_steps.download.source_version import find_path
from pipeline_steps.params import DownloadParams, read_params


def main() -> None:
    """Get the pairs that ``params.yaml`` names."""
    params = read_params().download
    pairs = RAW / "pairs.zip"
    sources = {"sample": take_sample, "kaggle": take_kaggle, "archive": take_path}
    source = {"source": params.source, **sources[params.source](params, pairs)}
    write_json(RAW / "source.json", source | {"pairs_zip_bytes": pairs.stat().st_size})
    print(f"download: {source['origin']}, {source['bytes'] / 1e6:.1f} MB")


def take_sample(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Draw the sample into the zip ``pairs``; return what ``source.json`` records of it."""
    write_sample(
        pairs,
        train_pairs=params.sample_train_pairs,
        test_pairs=params.sample_test_pairs,
        seed=params.sample_seed,
    )
    sha256 = file_sha256(pairs)
    return {
        "origin": "drawn by this project",
        "version": str(params.sample_seed),
        "bytes": pairs.stat().st_size,
        "sha256": sha256,
        "pairs_zip_sha256": sha256,
    }


def take_kaggle(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Download the Kaggle dataset's archive; it stays in the work folder, so a rerun is cheap."""
    limits = limits_of(params)
    download = download_kaggle(params.kaggle_dataset, DOWNLOAD_WORK, limits=limits)
    return {
        "origin": f"https://www.kaggle.com/datasets/{download.handle}",
        "version": str(download.version),
        "bytes": download.bytes,
        "sha256": download.sha256,
        "pairs_zip_sha256": write_pairs_zip(download, pairs, limits),
    }


def take_path(params: DownloadParams, pairs: Path) -> dict[str, Any]:
    """Copy the user's own archive or folder."""
    if params.path is None:
        raise SourceError("download.path: must name a zip, tar or folder when source is archive")
    path = Path(params.path).expanduser()
    archive = take_archive(find_path(params.path), pairs, limits_of(params))
    if archive.links:
        print(
            f"download: {archive.links} links in {path} are not followed; put the files themselves"
            " there (`cp -rL` copies what links point to)"
        )
    return {"origin": str(path), "version": archive.sha256[:12], **asdict(archive)}


def limits_of(params: DownloadParams) -> ArchiveLimits:
    """The limits of an archive, from the params."""
    return ArchiveLimits(
        members=params.max_members, unpacked_bytes=int(params.max_unpacked_gb * 1e9)
    )
