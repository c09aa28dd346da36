"""``python -m pipeline_steps source [FILE]``: checks the source, without downloading it.

FILE is a params file, by default ``params.yaml``. Fails in seconds where the download would fail at
once: no such archive, no credentials, no such data set.
"""

import argparse
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from pipeline_steps.base.errors import SourceError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.download.archive import content_sha256, files_in, kind_of
from pipeline_steps.download.kaggle import ask_version, parse_handle
from pipeline_steps.params import PARAMS_FILE, DownloadParams, read_params

TIMEOUT_S = 60.0


def main() -> None:
    """Print the version."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps source",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, nargs="?", default=PARAMS_FILE, metavar="FILE")
    print(f"source: {check_source(read_params(parser.parse_args().file).download)}")


def check_source(params: DownloadParams) -> str:
    """Name the source and what it is; the files of an archive aren't read.

    Raises :class:`SourceError` if it can't be reached, isn't there or is no archive.
    """
    if params.source == "archive":
        path = _require_path(params)
        return f"{kind_of(path)} {path}"
    return find_source_version(params)


def find_source_version(params: DownloadParams) -> str:
    """A text that changes when the source does: with Kaggle's version or the archive's SHA-256.

    Raises :class:`SourceError` if the source can't be reached or doesn't exist.
    """
    if params.source == "kaggle":
        version = ask_version(params.kaggle_dataset, timeout_s=TIMEOUT_S)
        return f"kaggle {params.kaggle_dataset} version {version}"
    if params.source == "archive":
        return f"archive {content_sha256(_require_path(params))}"
    sample = {key: value for key, value in asdict(params).items() if key.startswith("sample_")}
    return f"sample {json.dumps(sample, sort_keys=True)}"


def find_downloaded_version(raw: Path, params: DownloadParams) -> str | None:
    """The version that the last download into ``raw`` took, as :func:`find_source_version` says it.

    None if nothing was downloaded, or from another source than the params name. Raises
    :class:`~pipeline_steps.base.errors.DataError` if the record is damaged.
    """
    if not (raw / "source.json").exists():
        return None
    source = read_json(raw / "source.json")
    if source.get("source") != params.source:
        return None
    if params.source == "kaggle":
        if source.get("origin") != parse_handle(params.kaggle_dataset).page:
            return None
        return f"kaggle {params.kaggle_dataset} version {source.get('version')}"
    if params.source == "archive":
        return f"archive {source.get('sha256')}"
    if source.get("version") != str(params.sample_seed):
        return None
    return find_source_version(params)


def find_source_stamp(params: DownloadParams) -> str | None:
    """A hash of names, sizes and times of a local source: while it's equal, so is the version.

    None for a source that is not local. Raises :class:`SourceError` if it doesn't exist.
    """
    if params.source != "archive":
        return None
    path = _require_path(params)
    files = files_in(path) if path.is_dir() else [(path.name, path)]
    digest = hashlib.sha256()
    for name, file in files:
        status = file.stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def find_path(text: str) -> Path:
    """The file or folder that ``download.path`` names; a relative one is the repository's.

    In the folder of ``dvc exp run --temp`` or a queued experiment only what git or DVC track is
    there; all else is where the main repository has it.
    """
    path = Path(text).expanduser()
    return path if path.exists() else Path(os.environ.get("DVC_ROOT") or "") / path


def _require_path(params: DownloadParams) -> Path:
    path = find_path(params.path or "")
    if not params.path or not path.exists():
        raise SourceError(f"{path}: no such file or folder; correct download.path")
    return path
