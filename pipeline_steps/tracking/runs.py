"""MLflow runs and experiments: found or made.

One run per training, which every later stage finds again: by its id, else by the training's
fingerprint.
"""

import subprocess
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from colorizer.base.addresses import without_credentials
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking.embedded_database import sqlite_path
from pipeline_steps.tracking.journal import DeliveryMark
from pipeline_steps.tracking.mlflow_server import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

TRAINING_TAG = "colorizer.training"
"""The training's fingerprint: the same on every server that holds a run of it."""
ORIGIN_TAG = "colorizer.imported_from"
"""Server and id of the run that the training had before this one was made from its files."""


def now_ms() -> int:
    """The current time as MLflow expects it: milliseconds since 1970."""
    return int(time.time() * 1000)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find the experiment, or make it; an embedded one keeps artifacts next to its database."""
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
    require_active(experiment)
    return str(experiment.experiment_id)


def require_active(experiment: "Experiment") -> None:
    """Raise :class:`TrackingError` if an experiment is in MLflow's trash."""
    if experiment.lifecycle_stage != "active":
        server = without_credentials(tracking_uri())
        raise TrackingError(
            f"MLflow experiment {experiment.name!r} is deleted on {server}; restore it:"
            f" MLFLOW_TRACKING_URI={server} mlflow experiments restore"
            f" --experiment-id {experiment.experiment_id}"
        )


def find_run(
    client: "MlflowClient", *, experiment: str, run_id: str | None, training: str
) -> "Run | None":
    """Find a training's run by its id, else the oldest with its fingerprint; None without any."""
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
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return runs[0] if runs else None


def find_or_make_run(
    client: "MlflowClient", experiment: str, *, training: str, known: DeliveryMark | None = None
) -> str:
    """The id of a training's run on this server.

    A run that is made is tagged with the one that the training is ``known`` to have had. Of two
    that machines make at the same time, the older is kept.
    """
    from mlflow.tracking.context.registry import resolve_tags

    known_id = known.run_id if known else None
    run = find_run(client, experiment=experiment, run_id=known_id, training=training)
    if run is not None:
        return str(run.info.run_id)
    tags = resolve_tags() | {TRAINING_TAG: training}
    if known:
        tags[ORIGIN_TAG] = f"{known.server} run {known.run_id}"
    made = client.create_run(experiment_id(client, experiment), tags=tags)
    oldest = find_run(client, experiment=experiment, run_id=None, training=training) or made
    if oldest.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return str(oldest.info.run_id)


def run_page(client: "MlflowClient", experiment: str, run_id: str) -> str | None:
    """Where a server shows a run, without a password; None for an embedded database."""
    uri = without_credentials(tracking_uri())
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{uri.rstrip('/')}/#/experiments/{experiment_id(client, experiment)}/runs/{run_id}"


def log_metrics(
    client: "MlflowClient", run_id: str, values: Mapping[str, float], step: int = 0
) -> None:
    """Log a set of metrics at one step in one call."""
    from mlflow.entities import Metric

    time_ms = now_ms()
    client.log_batch(run_id, [Metric(key, value, time_ms, step) for key, value in values.items()])


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
