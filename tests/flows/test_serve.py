"""``make serve`` and ``prefect deploy`` make the same deployments from prefect.yaml."""

import asyncio
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import runtime
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.context import FlowRunContext, TaskRunContext
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.runner import Runner

from flows import retrain
from flows.ui import deployments, flow_run
from flows.ui.deployments import to_deployment

REPOSITORY = Path(__file__).parents[2]
ENTRIES: dict[str, dict[str, Any]] = {
    entry["name"]: entry
    for entry in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, RunnerDeployment]:
    """The deployments of ``make serve``, by name."""
    monkeypatch.chdir(REPOSITORY)
    return {name: to_deployment(entry) for name, entry in ENTRIES.items()}


def crons(deployment: RunnerDeployment) -> list[tuple[str, str | None]]:
    schedules = [each.schedule for each in deployment.schedules or []]
    assert all(isinstance(schedule, CronSchedule) for schedule in schedules)
    return [(s.cron, s.timezone) for s in schedules if isinstance(s, CronSchedule)]


def test_every_flow_of_users_is_served(served: dict[str, RunnerDeployment]) -> None:
    assert {deployment.full_name for deployment in served.values()} == {
        "retrain/retrain",
        "watch/watch",
        "promote/promote",
        "rollback/rollback",
    }


@pytest.mark.parametrize("name", ENTRIES)
def test_a_served_deployment_equals_that_of_prefect_deploy(
    served: dict[str, RunnerDeployment], name: str
) -> None:
    entry, deployment = ENTRIES[name], served[name]
    assert deployment.description == entry["description"]
    assert deployment.parameters == entry.get("parameters", {})
    assert crons(deployment) == [(each["cron"], each["timezone"]) for each in entry["schedules"]]


@pytest.mark.parametrize("name", ENTRIES)
def test_the_parameters_of_a_served_flow_are_valid(
    served: dict[str, RunnerDeployment], name: str
) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(ENTRIES[name]["entrypoint"])
    assert flow.name == served[name].flow_name
    flow.validate_parameters(dict(served[name].parameters or {}))  # raises if one is invalid


def test_a_scheduled_retraining_uses_head_and_promotes(
    served: dict[str, RunnerDeployment],
) -> None:
    assert served["retrain"].parameters == {"ref": "HEAD", "promote": "yes"}
    assert crons(served["retrain"]) == [("0 3 * * 1", "Europe/Berlin")]
    assert crons(served["watch"]) == [("17 * * * *", "Europe/Berlin")]
    assert crons(served["promote"]) == crons(served["rollback"]) == []


def test_a_retraining_is_named_after_its_ref_and_overrides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"ref": "main", "force": True, "overrides": {"train.epochs": 30}}
    monkeypatch.setattr(runtime.flow_run, "parameters", given, raising=False)
    assert retrain.name_run() == "retrain main, forced, train.epochs=30"
    assert retrain.retrain.flow_run_name is retrain.name_run


def test_a_flow_waits_for_its_heartbeats_and_a_task_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that came after the end would have the server mark the ended run as crashed."""
    waited: list[None] = []
    monkeypatch.setattr(flow_run, "send_heartbeats", lambda: waited.append(None))
    body = flow_run.failed_state_on_error(lambda: None)
    monkeypatch.setattr(FlowRunContext, "get", lambda: object())
    body()
    assert len(waited) == 1
    monkeypatch.setattr(TaskRunContext, "get", lambda: object())
    body()
    assert len(waited) == 1


def test_sigterm_stops_serving_as_sigint_does(
    monkeypatch: pytest.MonkeyPatch, served: dict[str, RunnerDeployment]
) -> None:
    """Without a warning: Prefect's own handler calls a coroutine function and never awaits it."""

    async def start(runner: Runner) -> None:
        signal.signal(signal.SIGTERM, runner.handle_sigterm)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    for step in ("ensure_crash_detection", "ensure_start_detection"):
        monkeypatch.setattr(deployments, step, lambda: None)
    monkeypatch.setattr(deployments, "report_lost_runs", lambda *_, **__: None)
    monkeypatch.setattr(deployments, "skip_missed_ticks", lambda **_: [])
    monkeypatch.setattr(deployments, "find_replaced", lambda _: {})
    monkeypatch.setattr(Runner, "handle_sigterm", Runner.handle_sigterm)
    monkeypatch.setattr(Runner, "add_deployment", lambda *_: None)
    monkeypatch.setattr(Runner, "start", start)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            deployments.serve_deployments(owns_server=False)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("name", ["retrain", "watch"])
def test_a_second_concurrent_run_is_cancelled(
    served: dict[str, RunnerDeployment], name: str
) -> None:
    options = served[name].concurrency_options
    assert served[name].concurrency_limit == 1
    assert options is not None
    assert options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
