"""MLflow: which server, is it there, and one run a training that every later stage finds again.

Nothing set: SQLite and a folder at the repository's root, where a plain ``mlflow ui`` shows them.
``MLFLOW_TRACKING_URI`` points anywhere else.
"""

import logging
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pipeline_steps.atomic import write_text
from pipeline_steps.embedded_database import FILE, ensure_database, sqlite_path
from pipeline_steps.errors import TrackingError, TrackingUnreachableError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PREFLIGHT_TIMEOUT_S = 3.0
TRAINING_TAG = "colorizer.training"
"""The training's fingerprint: the same on every server that holds a run of it."""
RUN_ID = r"[\w-]{1,64}"
ORIGIN_TAG = "colorizer.imported_from"

# a dead server is noticed in seconds, not minutes, and nothing is sent to anyone else
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow prints a run's address with the password that stands in ours; see run_page
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # nothing that lies on a server may be unpickled here
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "DO_NOT_TRACK": "1",
}


def repository_root() -> Path:
    """Where the embedded database lies: the main repository, also inside ``dvc exp run --temp``."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the embedded SQLite database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{repository_root() / FILE}"


def public_uri(uri: str) -> str:
    """The address without user name and password, fit to be shown and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def require_reachable() -> None:
    """Check that the server at hand answers, at the cost of one request: MLflow isn't imported.

    Raises :class:`TrackingUnreachableError` if it does not; an embedded one is always there.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        _require_answer(uri)


def connect() -> "MlflowClient":
    """Check that the server at hand answers, within seconds, and return its client.

    Raises :class:`TrackingError` if it is not there or refuses us.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = tracking_uri()
    require_reachable()

    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for chatter in ("mlflow", "alembic"):
        logging.getLogger(chatter).setLevel(logging.WARNING)
    # it logs, with a traceback, what it also raises
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    database = sqlite_path(uri)
    if database:
        ensure_database(database)
    mlflow.set_tracking_uri(uri)
    try:
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow at {public_uri(uri)} refuses us ({one_line(error)}); set MLFLOW_TRACKING_URI,"
            " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from None
    except SQLAlchemyError as error:
        raise TrackingError(
            f"MLflow can't use the database {public_uri(uri)} ({one_line(error)}); put a whole one"
            " there, or move it away and run the same command again"
        ) from None
    return client


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what MLflow raises inside into a :class:`TrackingError` of one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = one_line(error)
        if "Max retries exceeded" in reason or "timed out" in reason:
            raise went_away(reason[:200]) from None
        where = public_uri(tracking_uri())
        raise TrackingError(f"MLflow at {where} refused ({reason})") from error


def went_away(what: str) -> TrackingUnreachableError:
    """The error to raise when the server stops answering."""
    where = public_uri(tracking_uri())
    return TrackingUnreachableError(
        f"the MLflow server at {where} went away ({what}); run again when it's back"
    )


def one_line(error: Exception) -> str:
    """The first line of an error's text, without the password of the server's address."""
    uri = tracking_uri()
    lines = str(error).replace(uri, public_uri(uri)).splitlines()
    return lines[0] if lines else type(error).__name__


def _require_answer(uri: str) -> None:
    health = f"{public_uri(uri).rstrip('/')}/health"
    try:
        urllib.request.urlopen(health, timeout=PREFLIGHT_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is asked next
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingUnreachableError(
            f"no MLflow server answers at {public_uri(uri)} ({reason}); start it, or correct or"
            " unset MLFLOW_TRACKING_URI"
        ) from None


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
            f"MLflow experiment {name!r} is deleted on {public_uri(tracking_uri())}; restore it"
            " (`mlflow experiments restore`) or set another name in tracking.experiment"
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
    uri = public_uri(tracking_uri())
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
