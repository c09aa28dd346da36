"""A training's MLflow run: found or made, and written to.

One run a training, which every later stage finds again: by its id, else by the training's
fingerprint.
"""

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorizer.base.addresses import without_credentials
from colorizer.base.files import write_text
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking.embedded_database import sqlite_path
from pipeline_steps.tracking.mlflow_server import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRAINING_TAG = "colorizer.training"
"""The training's fingerprint: the same on every server that holds a run of it."""
RUN_ID = r"[\w-]{1,64}"
ORIGIN_TAG = "colorizer.imported_from"


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find the experiment, or make it; an embedded one keeps its artifacts beside its database."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        database = sqlite_path(tracking_uri())
        location = (database.parent / "mlruns").as_uri() if database else None
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another process was faster
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow experiment {name!r} is deleted on {without_credentials(tracking_uri())};"
            " restore it (`mlflow experiments restore`) or set another name in tracking.experiment"
        )
    return str(experiment.experiment_id)


def find_run(
    client: "MlflowClient", *, experiment: str, run_id: str | None, training: str
) -> "Run | None":
    """Find a training's run by its id, else by its fingerprint; None if it is not here."""
    from mlflow.exceptions import MlflowException

    if run_id:
        try:
            run = client.get_run(run_id)
            if run.info.lifecycle_stage == "active":
                return run
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
    runs = client.search_runs(
        [experiment_id(client, experiment)],
        filter_string=f"tags.`{TRAINING_TAG}` = '{training}'",
        max_results=1,
    )
    return runs[0] if runs else None


def open_run(client: "MlflowClient", experiment: str, *, training: str, work_folder: Path) -> str:
    """The id of a training's run on this server: found, or made; it is RUNNING then.

    The id is kept in ``work_folder``, with the checkpoints.
    """
    from mlflow.tracking.context.registry import resolve_tags

    id_file = work_folder / "run_id"
    known = id_file.read_text("utf-8", errors="replace") if id_file.exists() else ""
    run_id = known if re.fullmatch(RUN_ID, known) else None  # else found by its tag
    run = find_run(client, experiment=experiment, run_id=run_id, training=training)
    if run is None:
        tags = resolve_tags() | {TRAINING_TAG: training}
        run = client.create_run(experiment_id(client, experiment), tags=tags)
    elif run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    write_text(id_file, run.info.run_id)
    return str(run.info.run_id)


def run_page(client: "MlflowClient", experiment: str, run_id: str) -> str | None:
    """Where a server shows a run, without a password; None for an embedded database."""
    uri = without_credentials(tracking_uri())
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{uri.rstrip('/')}/#/experiments/{experiment_id(client, experiment)}/runs/{run_id}"


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Log flat params in batches."""
    from mlflow.entities import Param

    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), 100):
        client.log_batch(run_id, params=entries[start : start + 100])


def log_metrics(
    client: "MlflowClient", run_id: str, values: Mapping[str, float], step: int = 0
) -> None:
    """Log a set of metrics at one step in one call."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(key, value, now_ms, step) for key, value in values.items()])


def git_tags() -> dict[str, str]:
    """MLflow's own tags for the commit, and whether the tree differed from it; {} outside git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    # what a running `dvc repro` itself rewrites is not an edit
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    tags = {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    branch = _git("rev-parse", "--abbrev-ref", "HEAD")
    return tags | ({"mlflow.source.git.branch": branch} if branch else {})


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def log_evaluation(
    client: "MlflowClient", run_id: str, evaluation: Mapping[str, Any], report: Path
) -> None:
    """Log the test metrics (``test_l1``, ``copy_sketch_l1``, …) and the report's files to a run.

    Values that the run has already are not logged again.
    """
    values: dict[str, float] = {"test_pairs": evaluation["test_pairs"]}
    for answer, by_metric in evaluation.items():
        if isinstance(by_metric, Mapping):
            prefix = "test" if answer == "generator" else answer
            values |= {f"{prefix}_{metric}": value for metric, value in by_metric.items()}
    known = client.get_run(run_id).data.metrics
    new = {key: value for key, value in values.items() if known.get(key) != value}
    log_metrics(client, run_id, new)
    client.log_artifacts(run_id, str(report), "evaluation")
