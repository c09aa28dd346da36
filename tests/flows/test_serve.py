"""``make serve`` and ``prefect deploy`` make the same deployments from prefect.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow, load_flow_from_entrypoint

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


@pytest.mark.parametrize("name", ["retrain", "watch"])
def test_a_second_concurrent_run_is_cancelled(
    served: dict[str, RunnerDeployment], name: str
) -> None:
    options = served[name].concurrency_options
    assert served[name].concurrency_limit == 1
    assert options is not None
    assert options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
