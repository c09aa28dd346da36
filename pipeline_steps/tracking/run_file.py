"""``models/run.json``: the MLflow run of a training; written by train, read by later stages."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from colorizer.base.files import write_json
from pipeline_steps.base.errors import DataError

_FINGERPRINT = re.compile(r"[\w-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Where a training was logged, and what it was made from."""

    run_id: str
    """MLflow's id; other servers don't know it."""
    training: str
    """The training's fingerprint; finds the run on any server."""
    tracking_uri: str
    """Without user name and password."""
    data: dict[str, str]
    """sha256 of the packed train and val splits."""
    name: str = ""
    """The run's name in MLflow; empty in files of earlier releases, as is ``description``."""
    description: str = ""
    """What was trained, on what; Markdown."""


def write_run_file(path: Path, run: TrainingRun) -> None:
    """Write the run file, whole or not at all."""
    write_json(path, asdict(run))


def read_run_file(path: Path) -> TrainingRun:
    """Read the run file. Raises :class:`DataError` if it is missing or damaged."""
    try:
        run = TrainingRun(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro train` makes it") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error}); run `dvc repro -f train`") from None
    texts = [run.run_id, run.training, run.tracking_uri, run.name, run.description]
    texts += dict(run.data).values()
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{path}: damaged (not all strings); run `dvc repro -f train`")
    if not _FINGERPRINT.fullmatch(run.training):  # it names a folder
        raise DataError(f"{path}: damaged (no fingerprint of a training); run `dvc repro -f train`")
    return run
