"""After downtime: one run stands for all ticks of a schedule that nobody was there to run.

While no worker is there, a schedule's ticks become Late runs. A worker that comes back would take
all of them: the deployment's limit cancels all but one, each with a notification, or, in a pool
that runs one at a time, each has its turn.
"""

import contextlib
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.ui.automations import LIMIT_REACHED
from flows.ui.prefect_client import connected

MISSED = "Missed"
"""The name of a skipped tick's state; its type is CANCELLED."""
OVERDUE = ("Scheduled", "Late")  # not AwaitingRetry: such a run has begun


def skip_missed_ticks(*, names: Collection[str] = (), pool: str | None = None) -> list[str]:
    """Of each deployment's overdue ticks keep the newest, before anybody starts them.

    The deployments are those of ``flow/deployment`` names, or of a work pool. Returns a line for
    each that had several.
    """
    lines = []
    with connected() as client:
        for deployment in _find_deployments(client, names, pool):
            ticks = _read_ticks(client, deployment.id, StateType.SCHEDULED)
            overdue = [run for run in ticks if run.state_name in OVERDUE]
            skipped: list[FlowRun] = []
            while overdue:
                kept, *others = overdue  # the newest
                same = [run for run in others if run.parameters == kept.parameters]
                _skip(client, same, kept)
                skipped += same
                overdue = [run for run in others if run not in same]
            if skipped:
                missed = f"{_count(len(skipped))} missed, {_span(skipped)}"
                lines.append(f"{deployment.name}: {missed}: skipped, one run stands for them")
    return lines


def stand_for_missed_ticks() -> str:
    """In a flow run: skip its deployment's other overdue ticks; say for how many it stands.

    Returns ``stands for 5 ticks of the schedule, …; `` for a run's message, or nothing: one that a
    person has started stands for none, and a tick with other parameters is left.
    """
    if runtime.deployment.id is None:
        return ""
    with connected() as client:
        own = client.read_flow_run(UUID(str(runtime.flow_run.id)))
        if not own.auto_scheduled:
            return ""
        deployment = UUID(str(runtime.deployment.id))
        found = _read_ticks(client, deployment, StateType.SCHEDULED, StateType.CANCELLED)
        others = [run for run in found if run.id != own.id and run.parameters == own.parameters]
        overdue = [run for run in others if run.state_name in OVERDUE]
        _skip(client, overdue, own)
        states = client.read_flow_run_states(own.id)
        pending = (state.timestamp for state in states if state.is_pending())
        taken = min(pending, default=datetime.now(UTC))
        # the worker offered them together with this one
        refused = [run for run in others if _was_refused(run) and run.end_time >= taken]  # type: ignore[operator]
        before = [run for run in others if run.state and str(own.id) in (run.state.message or "")]
    missed = {run.id: run for run in (*overdue, *refused, *before)}
    if not missed:
        return ""
    stands = (
        f"stands for {_count(len(missed) + 1)} of the schedule, {_span([own, *missed.values()])}"
    )
    get_run_logger().info("%s", stands)
    return f"{stands}; "


def _find_deployments(
    client: SyncPrefectClient, names: Collection[str], pool: str | None
) -> list[DeploymentResponse]:
    found = []
    if pool is not None:
        of_pool = WorkPoolFilter.model_validate({"name": {"any_": [pool]}})
        found += client.read_deployments(work_pool_filter=of_pool)
    for name in names:
        with contextlib.suppress(ObjectNotFound):
            found.append(client.read_deployment_by_name(name))
    return found


def _read_ticks(client: SyncPrefectClient, deployment: UUID, *types: StateType) -> list[FlowRun]:
    """A deployment's automatic runs that are due, the newest first."""
    due = {"before_": datetime.now(UTC)}
    conditions = {"state": {"type": {"any_": types}}, "expected_start_time": due}
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate(conditions),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    return [run for run in runs if run.auto_scheduled]


def _skip(client: SyncPrefectClient, ticks: Iterable[FlowRun], kept: FlowRun) -> None:
    message = f"Nobody was there to run it: {kept.name} stands for it (flow run {kept.id})."
    for run in ticks:
        client.set_flow_run_state(run.id, Cancelled(name=MISSED, message=message))


def _was_refused(run: FlowRun) -> bool:
    message = (run.state.message if run.state else None) or ""
    return message.startswith(LIMIT_REACHED) and run.end_time is not None


def _count(ticks: int) -> str:
    return "1 tick" if ticks == 1 else f"{ticks} ticks"


def _span(runs: Collection[FlowRun]) -> str:
    due = sorted(run.expected_start_time for run in runs if run.expected_start_time)
    first, last = (f"{each:%Y-%m-%d %H:%M} UTC" for each in (due[0], due[-1]))
    return f"due {first}" if first == last else f"due {first} to {last}"
