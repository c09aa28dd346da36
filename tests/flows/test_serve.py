"""``make serve`` and ``prefect deploy`` read one file: prefect.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serve import to_deployment

REPOSITORY = Path(__file__).parents[2]
ENTRIES: list[dict[str, Any]] = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())[
    "deployments"
]


def test_all_that_people_start_is_deployed() -> None:
    assert {entry["name"] for entry in ENTRIES} == {"retrain", "watch", "promote", "rollback"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["name"]))
def test_an_entry_is_served_as_it_would_be_deployed(
    entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    deployment = to_deployment(entry)
    assert deployment.full_name == f"{entry['name']}/{entry['name']}"
    schedules = [each.schedule for each in deployment.schedules or []]
    told = [(each.cron, each.timezone) for each in schedules]  # type: ignore[union-attr]
    assert told == [(each["cron"], each["timezone"]) for each in entry["schedules"]]
    limit = entry.get("concurrency_limit")
    assert deployment.concurrency_limit == (limit["limit"] if limit else None)
    strategy = deployment.concurrency_options
    assert (strategy.collision_strategy.value if strategy else None) == (
        limit["collision_strategy"] if limit else None
    )


def test_a_retraining_keeps_its_schedule_and_never_runs_twice() -> None:
    (retrain,) = (entry for entry in ENTRIES if entry["name"] == "retrain")
    assert retrain["schedules"][0]["timezone"]
    assert retrain["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
