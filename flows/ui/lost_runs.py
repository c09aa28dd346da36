"""Flow runs that ended without a word: killed together with the server, or never started."""

import contextlib
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.errors import ServerError
from flows.ui.automations import LIMIT_REACHED
from flows.ui.prefect_client import connected

HOLDS_SLOT = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
SUSPENDED = "Suspended"  # has no process by design
POLL_S = 30.0
OVERLAP = timedelta(seconds=60)  # clocks differ
GONE = "The process of this run was gone when the server was started again."


def close_lost_runs(deployments: Collection[str]) -> None:
    """Mark the unfinished runs of ``flow/deployment`` names that have no process as crashed.

    Only for a server whose runs are all started by this command, before it starts any: a run of
    a work pool may have its process on another machine and isn't touched. Afterwards the slots of
    a deployment's concurrency limit are those that its living runs hold.
    """
    alive = processes_of_runs()
    with connected() as client:
        for name in deployments:
            try:
                deployment = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            unfinished = [*HOLDS_SLOT, StateType.PAUSED]
            runs = read_runs(client, [name], {"type": {"any_": unfinished}})
            lost = [run for run in runs if run.work_pool_name is None and str(run.id) not in alive]
            for run in lost:
                assert run.state is not None
                if run.state.is_cancelling():
                    client.set_flow_run_state(run.id, Cancelled(message=GONE))
                elif run.state.name != SUSPENDED:
                    client.set_flow_run_state(run.id, Crashed(message=GONE))
            limit = deployment.global_concurrency_limit
            holders = [run for run in runs if run.state_type in HOLDS_SLOT and run not in lost]
            if limit is not None:
                slots = GlobalConcurrencyLimitUpdate(active_slots=len(holders))
                client.update_global_concurrency_limit(limit.name, slots)


def processes_of_runs() -> set[str]:
    """The ids of the flow runs that have a process on this machine, as Prefect starts them."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended, or another user's
            found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return found


def report_lost_runs(deployments: Collection[str], since: datetime) -> None:
    """In the background: print a line for each run that crashed, or that the limit cancelled."""
    threading.Thread(target=_report, args=(deployments, since), daemon=True).start()


def _report(deployments: Collection[str], since: datetime) -> None:
    pause = threading.Event()
    printed: list[FlowRun] = []
    while True:
        asked = datetime.now(UTC)
        with contextlib.suppress(ServerError), connected() as client:
            found = read_lost_runs(client, deployments, since)
            for run in found:
                if run.id not in [before.id for before in printed]:
                    print(describe(run), flush=True)
            printed, since = found, asked - OVERLAP
        pause.wait(POLL_S)


def read_lost_runs(
    client: SyncPrefectClient, deployments: Collection[str], since: datetime
) -> list[FlowRun]:
    """The runs that crashed or were cancelled by their limit after ``since``."""
    ended = {"type": {"any_": [StateType.CRASHED, StateType.CANCELLED]}}
    runs = read_runs(client, deployments, ended, end_time={"after_": since})
    return [run for run in runs if run.state and is_lost(run.state.type, run.state.message or "")]


def is_lost(state: StateType, message: str) -> bool:
    """Whether nobody asked for this end of a run."""
    return state == StateType.CRASHED or message.startswith(LIMIT_REACHED)


def describe(run: FlowRun) -> str:
    """One line: the run's name, its state and why."""
    assert run.state is not None
    reason = " ".join((run.state.message or "no reason given").split())
    return f"serve: run {run.name!r} {run.state.name}: {reason} (flow run {run.id})"


def read_runs(
    client: SyncPrefectClient, deployments: Collection[str], state: Any, **conditions: Any
) -> list[FlowRun]:
    """The runs of ``flow/deployment`` names in such a state."""
    flows, names = zip(*(name.split("/") for name in deployments), strict=True)
    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": flows}}),
        deployment_filter=DeploymentFilter.model_validate({"name": {"any_": names}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": state, **conditions}),
    )
