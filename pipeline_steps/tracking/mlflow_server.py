"""Which MLflow server is used, whether it responds, and its errors as one line.

By default an SQLite database and a folder at the repository's root, where a plain ``mlflow ui``
finds them. ``MLFLOW_TRACKING_URI`` names any other server.
"""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.addresses import without_credentials
from colorizer.base.object_store import SCHEME
from colorizer.base.redaction import add_secrets
from colorizer.base.server_answers import Answer, find_answer, is_connection_lost
from pipeline_steps.base.errors import TrackingError, TrackingUnreachableError
from pipeline_steps.tracking.embedded_database import FILE, ensure_database, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREFLIGHT_TIMEOUT_S = 3.0

# a dead server is noticed in seconds, not minutes, and nothing is sent to anyone else
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # runs.run_page is printed instead
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # nothing from a server is unpickled
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "DO_NOT_TRACK": "1",
}


def repository_root() -> Path:
    """The embedded database's folder: the main repository, also inside ``dvc exp run --temp``."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the embedded SQLite database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{repository_root() / FILE}"


def require_reachable() -> None:
    """Check with one request that the server responds; MLflow isn't imported.

    Raises :class:`TrackingUnreachableError` if it does not; an embedded one is always there.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        _require_answer(uri)


def connect() -> "MlflowClient":
    """Check that the server in use responds, within seconds, and return its client.

    Raises :class:`TrackingUnreachableError` if it doesn't respond, and :class:`TrackingError` if it
    rejects the request.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = tracking_uri()
    require_reachable()

    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import read_mlflow_creds
    from sqlalchemy.exc import SQLAlchemyError

    from colorizer.base.bucket_transfer import use_plain_bucket_errors

    add_secrets(read_mlflow_creds().password)  # it may be in ~/.mlflow/credentials

    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # it logs, with a traceback, what it also raises
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    database = sqlite_path(uri)
    use_plain_bucket_errors()
    if database:
        ensure_database(database)
    else:
        from colorizer.base.file_transfer import use_timeouts_by_size

        use_timeouts_by_size()
    mlflow.set_tracking_uri(uri)
    try:
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except MlflowException as error:
        if is_passing(error):
            raise plain_error(error) from None
        raise TrackingError(
            f"MLflow at {uri} rejected the request ({one_line(error)}); set"
            " MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from None
    except SQLAlchemyError as error:
        raise TrackingError(
            f"MLflow can't use the database {uri} ({one_line(error)}); restore"
            " it from a backup, or move it away and run the same command again"
        ) from None
    return client


def require_artifact_store(client: "MlflowClient", experiment: str) -> None:
    """Check that an experiment's files can be stored, if they go to a bucket from this process.

    Raises :class:`TrackingError` within seconds.
    """
    from colorizer.base.bucket_transfer import require_bucket

    found = client.get_experiment_by_name(experiment)
    if found and found.artifact_location.startswith(SCHEME):
        with plain_errors():
            require_bucket(found.artifact_location)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an exception of MLflow's client into a :class:`TrackingError` of one line."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        raise plain_error(error) from (error if isinstance(error, MlflowException) else None)


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later, by the status of the server's answer."""
    answer = find_answer(error)
    return is_connection_lost(error) if answer is None else not answer.is_final


def plain_error(error: Exception) -> TrackingError:
    """The error to raise for one of MLflow's client."""
    from colorizer.base.bucket_transfer import find_bucket_error

    if bucket_error := find_bucket_error(error):
        kind = TrackingUnreachableError if bucket_error.may_pass else TrackingError
        return kind(f"{bucket_error}, and run the same command again")
    answer, reason = find_answer(error), one_line(error)
    if is_passing(error):
        return went_away("" if answer and answer.address else reason[:200], answer)
    if answer is not None and answer.address:
        return TrackingError(f"{answer}; {answer.advice}, and run the same command again")
    return TrackingError(f"MLflow at {tracking_uri()} rejected the request ({reason})")


def went_away(what: str, answer: Answer | None = None) -> TrackingUnreachableError:
    """The error to raise when the server stops answering, or answers that it can't now."""
    if answer is not None and not answer.address:
        answer = answer._replace(address=f"MLflow at {tracking_uri()}")
    if answer is not None:
        return TrackingUnreachableError(f"{answer}{f' ({what})' if what else ''}; {answer.advice}")
    return TrackingUnreachableError(
        f"the MLflow server at {tracking_uri()} stopped responding ({what}); run the same"
        " command again when it's back"
    )


def one_line(error: Exception) -> str:
    """The first line of an error's text."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _require_answer(uri: str) -> None:
    health = f"{without_credentials(uri).rstrip('/')}/health"
    try:
        urllib.request.urlopen(health, timeout=PREFLIGHT_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it responds; the next request shows whether it accepts the credentials
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingUnreachableError(
            f"no MLflow server answers at {uri} ({reason}); start it, or"
            " correct or unset MLFLOW_TRACKING_URI"
        ) from None
