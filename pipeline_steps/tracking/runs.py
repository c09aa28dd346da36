"""MLflow runs and experiments: found or made.

One run per training, which every later stage finds again: by its id, else by the training's
fingerprint.
"""

import os
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
COMMIT_TAG, BRANCH_TAG = "mlflow.source.git.commit", "mlflow.source.git.branch"
DIRTY_TAG = "git.dirty"
"""Whether the files differed from the commit: ``true`` or ``false``."""
NAME_TAG, DESCRIPTION_TAG = "mlflow.runName", "mlflow.note.content"
EXPERIMENT_TAG = "dvc.experiment"
"""The name of the DVC experiment that the training was run in."""


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
        server = tracking_uri()
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
    client: "MlflowClient",
    experiment: str,
    *,
    training: str,
    known: DeliveryMark | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """The id of a training's run on this server.

    A run that is made has these ``tags``, its name among them, and is tagged with the one that the
    training is ``known`` to have had. Of two that machines make at the same time, the older is
    kept.
    """
    from mlflow.tracking.context.registry import resolve_tags

    known_id = known.run_id if known else None
    run = find_run(client, experiment=experiment, run_id=known_id, training=training)
    if run is not None:
        return str(run.info.run_id)
    first = resolve_tags() | dict(tags or {}) | {TRAINING_TAG: training}
    first.setdefault(NAME_TAG, default_name(training))
    if known:
        first[ORIGIN_TAG] = f"{known.server} run {known.run_id}"
    made = client.create_run(experiment_id(client, experiment), tags=first)
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


def run_name(training: str) -> str:
    """The name of a training's run: the DVC experiment's in which it runs, else the default."""
    return dvc_experiment() or default_name(training)


def default_name(training: str) -> str:
    """The name of a run outside a DVC experiment."""
    return f"training {training[:8]}"


def dvc_experiment() -> str | None:
    """The name of the DVC experiment that this process runs in; None outside one."""
    return os.environ.get("DVC_EXP_NAME") or None


def git_tags() -> dict[str, str]:
    """MLflow's own tags for the commit, and whether the tree differed from it; {} outside git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    # what a running `dvc repro` itself rewrites is not an edit
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    tags = {COMMIT_TAG: commit, DIRTY_TAG: str(bool(changes)).lower()}
    if experiment := dvc_experiment():
        tags[EXPERIMENT_TAG] = experiment
    branch = find_branch(commit)
    return tags | ({BRANCH_TAG: branch} if branch else {})


def find_branch(commit: str) -> str | None:
    """The branch that is checked out; None for a detached HEAD that stands for none.

    In the folder of ``dvc exp run --temp`` or a queued experiment that is the main repository's,
    if it is still at the experiment's commit.
    """
    if branch := _git("symbolic-ref", "--quiet", "--short", "HEAD"):
        return branch
    main = os.environ.get("DVC_ROOT")
    if main and _git("rev-parse", "HEAD", folder=main) == commit:
        return _git("symbolic-ref", "--quiet", "--short", "HEAD", folder=main)
    return None


def _git(*arguments: str, folder: str | None = None) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
