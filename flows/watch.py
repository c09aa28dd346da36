"""The data trigger: start a retraining when the source of pairs has changed, and only then.

It runs hourly, apart from the weekly schedule, and is cheap (``download/source_version.py``). The
version seen last is kept in a Prefect variable, so it's known on every machine. Before the first
one is kept, what the repository or its retrainings have downloaded is taken for seen.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from prefect.variables import Variable

from flows.errors import ServerError
from flows.ui.flow_run import failed_state_on_error
from flows.ui.missed_ticks import stand_for_missed_ticks
from pipeline_steps.base.paths import RAW, RETRAIN_WORK
from pipeline_steps.download.source_version import (
    find_downloaded_version,
    find_source_stamp,
    find_source_version,
)
from pipeline_steps.params import DownloadParams, read_params

SEEN = "colorizer_source"


@flow(name="watch", flow_run_name="watch for {deployment}", validate_parameters=True)
@failed_state_on_error
def watch(deployment: str = "retrain/retrain", repository: str = ".") -> State[Any]:
    """Compare the source with what was seen last; start the deployment on a change."""
    stand_for_missed_ticks()
    params = read_params(Path(repository) / "params.yaml").download
    if params.path:
        params = replace(params, path=str(Path(repository) / Path(params.path).expanduser()))
    seen = read_seen(Path(repository), params)
    stamp = find_source_stamp(params)
    is_handled = not was_cancelled(seen.get("flow_run"))
    if stamp is not None and stamp == seen.get("stamp") and is_handled:
        return Completed(name="Unchanged", message="the source's files have not been touched")
    version = find_source_version(params)
    if version == seen.get("version") and is_handled:
        Variable.set(SEEN, seen | {"stamp": stamp}, overwrite=True)
        return Completed(name="Unchanged", message=f"the source is still {version}")
    flow_run = start(deployment)
    now_seen = {"version": version, "stamp": stamp, "flow_run": flow_run}
    Variable.set(SEEN, now_seen, overwrite=True)
    get_run_logger().info("the source is now %s", version)
    return Completed(name="Triggered", message=f"the source is now {version}: {deployment} started")


def read_seen(repository: Path, params: DownloadParams) -> dict[str, Any]:
    """``version``, ``stamp`` and ``flow_run`` as seen last; at first the downloaded version."""
    seen: Any = Variable.get(SEEN)
    if isinstance(seen, dict):
        return seen
    downloads = [repository / RAW, repository / RETRAIN_WORK / "clone" / RAW]
    versions = [find_downloaded_version(raw, params) for raw in downloads]
    return {"version": next((each for each in versions if each is not None), None)}


def start(deployment: str) -> str:
    """Start a run of a deployment and return its id; raises :class:`ServerError` if none."""
    try:
        run = run_deployment(deployment, timeout=0, as_subflow=False)
    except ObjectNotFound:
        raise ServerError(
            f"no deployment {deployment!r} on this Prefect server; `prefect deploy --all` makes it"
        ) from None
    assert isinstance(run, FlowRun)  # a coroutine only where an event loop runs
    return str(run.id)


def was_cancelled(flow_run: str | None) -> bool:
    """Whether a started run was cancelled, e.g. since another one was running."""
    if flow_run is None:
        return False
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(flow_run)).state
        except ObjectNotFound:
            return False
    return state is not None and state.is_cancelled()
