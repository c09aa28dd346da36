"""``python -m pipeline_steps bundle [FILE]``: exported folder and record of its training as a zip.

Another machine registers it: ``python -m pipeline_steps register --from FILE``. The zip holds

    colorizer/…                        the exported folder, see :mod:`colorizer.model.folder`
    training/run.json, git.json        where it was logged; its commit
    training/history.csv, strips.png   its curves and pictures
    training/evaluation/…              the evaluation's report

What is below ``training/`` may be missing: any exported folder, and a zip of one, is read as well.
"""

import argparse
import json
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from colorizer.base.archive_damage import is_damage
from colorizer.base.errors import ModelFolderError
from colorizer.base.files import atomic_path
from colorizer.base.zip_entries import is_encrypted, list_files, zip_entry
from colorizer.model.folder import CHECKED_FILES, CHECKSUMS_FILE, ModelFolder, open_model_folder
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import (
    BEST_GRID,
    EXPORTED_MODEL,
    HISTORY,
    PER_PICTURE,
    RANDOM_GRID,
    RUN_FILE,
    STRIPS,
    WORST_GRID,
)
from pipeline_steps.scores.definitions import BASELINES, GENERATOR, PIXEL_METRICS, measured
from pipeline_steps.tracking import runs
from pipeline_steps.tracking.run_file import read_run_file

REGISTER_WORK = Path(".work/register")
TRAINING = "training"
GIT_FILE = "git.json"
REPORT = "evaluation"
MAX_MODEL_FILE_BYTES = 1 << 31
"""Of a file of the exported folder: an ONNX file can't be larger."""
MAX_RECORD_FILE_BYTES = 1 << 26
MAX_TAG_CHARACTERS = 1000
_REPORT_FILES = (PER_PICTURE, RANDOM_GRID, BEST_GRID, WORST_GRID)
_RECORD = {
    RUN_FILE.name: RUN_FILE,
    HISTORY.name: HISTORY,
    STRIPS.name: STRIPS,
    **{f"{REPORT}/{file.name}": file for file in _REPORT_FILES},
}
"""Name below ``training/`` → the file of the pipeline."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked exported folder, and what is known of its training."""

    model: ModelFolder
    record: Path
    """Folder of ``history.csv``, ``strips.png`` and ``evaluation/``; each may be missing."""
    git: Mapping[str, str]
    """MLflow's tags of the commit that it was trained at; empty if that is unknown."""
    origin: str
    """The file or folder that it was read from, and the run that it had."""

    def files(self) -> tuple[Path | None, Path | None, Path | None]:
        """History, strips and the evaluation's folder; None for those that it doesn't hold."""
        names = (HISTORY.name, STRIPS.name, REPORT)
        history, strips, report = (self.record / name for name in names)
        return (
            history if history.is_file() else None,
            strips if strips.is_file() else None,
            report if report.is_dir() else None,
        )

    def describe(self) -> str:
        """Where the model comes from, for a person, in one line."""
        data, training = self.model.config["data"], self.model.config["training"]
        source = data.get("source") or {}
        pairs = data.get("pairs") or {}
        commit = self.git.get(runs.COMMIT_TAG, "")[:12] or "of unknown commit"
        return (
            f"{pairs.get('train', 'unknown')} pairs of {source.get('origin', 'unknown origin')},"
            f" {self.model.image_size} px, best epoch {training['best_epoch']} of"
            f" {training['epochs']}, code {commit}"
        )


def main() -> None:
    """Write the bundle of the current model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps bundle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, nargs="?", default=Path("colorizer.zip"), metavar="FILE")
    target = parser.parse_args().file
    write_bundle(target)
    print(
        f"bundle: {target}, {target.stat().st_size / 1e6:.0f} MB; register it elsewhere:"
        f" python -m pipeline_steps register --from {target.name}"
    )


def write_bundle(target: Path) -> None:
    """Zip the exported folder and the record of its training, whole or not at all.

    Raises :class:`DataError` if the folder or ``models/run.json`` is missing or damaged.
    """
    model = open_exported(EXPORTED_MODEL)
    read_run_file(RUN_FILE)
    files = {f"colorizer/{name}": model.folder / name for name in (*CHECKED_FILES, CHECKSUMS_FILE)}
    files |= {f"{TRAINING}/{name}": file for name, file in _RECORD.items() if file.exists()}
    num_bytes = sum(file.stat().st_size for file in files.values())
    require_disk_space(target.absolute().parent, num_bytes, "the bundle")
    # weights don't compress
    with atomic_path(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(zip_entry(f"{TRAINING}/{GIT_FILE}"), json.dumps(runs.git_tags()))
        for name, file in files.items():
            with file.open("rb") as content, archive.open(zip_entry(name), "w") as member:
                shutil.copyfileobj(content, member)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Check a bundle, an exported folder or a zip of one; a zip is unpacked for the block's time.

    Raises :class:`DataError` if it is none, damaged, encrypted, too large or without test results.
    """
    if path.is_dir():
        found = [*path.glob(CHECKSUMS_FILE), *path.glob(f"*/{CHECKSUMS_FILE}")]
        root = _find_root(path, [file.relative_to(path).as_posix() for file in found])
        yield _read_bundle(path / root, path)
        return
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    REGISTER_WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REGISTER_WORK) as temporary:
        try:
            folder = Path(temporary) / "colorizer"
            _unpack(path, folder)
            yield _read_bundle(folder, path)
        except DataError as error:
            raise DataError(str(error).replace(f"{temporary}/", f"{path}: ")) from None


def open_exported(folder: Path) -> ModelFolder:
    """Check an exported folder, and that it has what a version needs. Raises :class:`DataError`."""
    if not folder.exists():
        raise DataError(f"no model: {folder} doesn't exist; `make repro` makes one")
    try:
        model = open_model_folder(folder)
    except ModelFolderError as error:
        raise DataError(str(error)) from None
    if missing := find_missing(model.config):
        raise DataError(
            f"{folder / 'config.json'}: no {missing}, without which none is registered; export it"
            " again (`dvc repro export`)"
        )
    return model


def find_missing(config: Mapping[str, Any]) -> str | None:
    """The first thing that an exported folder's config lacks for a version of the registry."""
    params, data, training, evaluation = (
        config.get(name) for name in ("params", "data", "training", "evaluation")
    )
    if not isinstance(params, dict):
        return "params"
    if not isinstance(data, dict) or not isinstance(data.get("fingerprint"), str):
        return "fingerprint of its data"
    counts = ("best_epoch", "epochs")
    if not isinstance(training, dict) or any(type(training.get(n)) is not int for n in counts):
        return "result of its training"
    if not isinstance(evaluation, dict) or type(evaluation.get("test_pairs")) is not int:
        return "test results (evaluation)"
    generator = evaluation.get(GENERATOR)
    metrics = [*PIXEL_METRICS, *(measured(generator) if isinstance(generator, dict) else ())]
    for method in (GENERATOR, *BASELINES):
        scores = evaluation.get(method)
        for metric in metrics:
            score = scores.get(metric) if isinstance(scores, dict) else None
            if not isinstance(score, (int, float)) or not math.isfinite(score):
                return f"test results (evaluation.{method}.{metric})"
    return None


def _read_bundle(folder: Path, origin: Path) -> Bundle:
    model = open_exported(folder)
    beside = folder.parent / TRAINING
    record = beside if (beside / GIT_FILE).exists() else folder / TRAINING
    try:
        run_file = record / RUN_FILE.name
        run = read_run_file(run_file) if run_file.exists() else None
        git = read_json(record / GIT_FILE) if (record / GIT_FILE).exists() else {}
    except DataError as error:
        reason = str(error).rpartition(";")[0]
        raise DataError(f"{reason}; make the bundle again, or remove {TRAINING}/") from None
    known = f": training {run.training}, run {run.run_id} on {run.tracking_uri}" if run else ""
    return Bundle(
        model=model,
        record=record,
        git=_only_tags(git),
        origin=f"{origin.name}{known}"[:MAX_TAG_CHARACTERS],
    )


def _only_tags(git: Mapping[str, Any]) -> dict[str, str]:
    """MLflow's tags of a commit, as :func:`~pipeline_steps.tracking.runs.git_tags` gives them."""
    return {
        name: str(git[name])[:MAX_TAG_CHARACTERS]
        for name in (runs.COMMIT_TAG, runs.BRANCH_TAG, runs.DIRTY_TAG)
        if name in git
    }


def _find_root(path: Path, names: list[str]) -> PurePosixPath:
    """The folder of the only ``checksums.json`` among an archive's or a folder's names."""
    found = [PurePosixPath(name) for name in names if PurePosixPath(name).name == CHECKSUMS_FILE]
    if len(found) != 1:
        raise DataError(
            f"{path}: holds {len(found)} exported folders ({CHECKSUMS_FILE} and the files that it"
            " names), must be one; `python -m pipeline_steps bundle` writes such a zip"
        )
    return found[0].parent


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the files that a bundle is known to have; all others are left in the zip.

    The archive's names only choose what is read: files are written under the names known here.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = list_files(archive)
            root = _find_root(path, [entry.filename for entry in entries])
            wanted = {str(root / name): folder / name for name in (*CHECKED_FILES, CHECKSUMS_FILE)}
            chosen = _choose(path, entries, set(wanted), MAX_MODEL_FILE_BYTES)
            record = {
                str(root.parent / TRAINING / name): folder.parent / TRAINING / name
                for name in (*_RECORD, GIT_FILE)
            }
            chosen += _choose(path, entries, set(record), MAX_RECORD_FILE_BYTES)
            total = sum(entry.file_size for entry in chosen)
            require_disk_space(folder.parent, total, "the unpacked model")
            for entry in chosen:
                target = (wanted | record)[entry.filename]
                target.parent.mkdir(parents=True, exist_ok=True)
                # reads file_size bytes at most, and compares the CRC
                with archive.open(entry) as content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except Exception as error:
        if not is_damage(error):
            raise
        raise DataError(f"{path}: no zip, or damaged ({error}); get it again") from None


def _choose(
    path: Path, entries: list[zipfile.ZipInfo], names: set[str], max_bytes: int
) -> list[zipfile.ZipInfo]:
    """The entries with these names. Raises :class:`DataError` for any that can't be unpacked."""
    chosen = [entry for entry in entries if entry.filename in names]
    if len(chosen) > len({entry.filename for entry in chosen}):
        raise DataError(f"{path}: holds a file twice; make it again")
    for entry in chosen:
        if is_encrypted(entry):
            raise DataError(f"{path}: encrypted; unpack it with its password and give the folder")
        if entry.file_size > max_bytes:
            raise DataError(
                f"{path}: {entry.filename} has {entry.file_size / 1e6:.0f} MB unpacked, more than"
                f" a model's ({max_bytes / 1e6:.0f} MB)"
            )
    return chosen
