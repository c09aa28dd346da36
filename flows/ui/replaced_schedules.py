"""Schedules that people have set on the server, and that a new deployment would take away.

A deployment of the same name deletes all schedules and their pending runs, and makes those of
``prefect.yaml``. Runs that a person has started, and late ones, are kept.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound

from flows.ui.prefect_client import connected


def find_replaced(entries: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
    """``flow/deployment`` → its schedules on the server that are not, or otherwise, in its entry.

    ``entries``: those of ``prefect.yaml``, by the same names.
    """
    found: dict[str, list[str]] = {}
    with connected() as client:
        for name, entry in entries.items():
            try:
                deployment = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            ours = {_describe(each): each.get("active", True) for each in entry["schedules"]}
            of_deployment = DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}})
            scheduled = {"state": {"type": {"any_": [StateType.SCHEDULED]}}}
            runs = client.read_flow_runs(
                deployment_filter=of_deployment,
                flow_run_filter=FlowRunFilter.model_validate(scheduled),
            )
            for each in deployment.schedules:
                what = _describe(_fields(each.schedule))
                if what not in ours:
                    pending = sum(str(each.id) in (run.idempotency_key or "") for run in runs)
                    line = f"{name}: schedule {what} ({pending} pending runs)"
                    found.setdefault(name, []).append(line)
                elif each.active != ours[what]:
                    state = "active" if each.active else "paused"
                    line = f"{name}: schedule {what} is {state} on the server"
                    found.setdefault(name, []).append(line)
    return found


def _describe(schedule: dict[str, Any]) -> str:
    if "cron" in schedule:
        return f"'{schedule['cron']}' {schedule.get('timezone') or 'UTC'}"
    if "interval" in schedule:
        return f"every {schedule['interval']:g} s"
    return str(schedule.get("rrule", schedule))


def _fields(schedule: Any) -> dict[str, Any]:
    """As in ``prefect.yaml``."""
    if isinstance(schedule, CronSchedule):
        return {"cron": schedule.cron, "timezone": schedule.timezone}
    if isinstance(schedule, IntervalSchedule):
        return {"interval": schedule.interval / timedelta(seconds=1)}
    return {"rrule": schedule.rrule if isinstance(schedule, RRuleSchedule) else str(schedule)}
