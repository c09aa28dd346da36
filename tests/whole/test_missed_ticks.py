"""A schedule's ticks that nobody was there to run, and what a new deployment takes away."""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.whole.prefect_stack import (
    PrefectServer,
    end,
    prefect_server,
    process_worker,
    tail,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TICKS = 5
RUN_S = 120.0
FLOWS = """
from prefect import flow
from prefect.states import Completed
import flows.ui.flow_run
from flows.ui.missed_ticks import stand_for_missed_ticks

@flow(name="retrain")
def retrain():
    return Completed(message=f"{stand_for_missed_ticks()}ran train")
"""
OVERLAP = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
HOURLY = {"cron": "17 * * * *", "timezone": "Europe/Berlin", "active": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow that is deployed to a pool for one run at a time, and to two without a limit."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toys.py").write_text(FLOWS)
    entries = [
        {
            "name": pool,
            "entrypoint": "toys.py:retrain",
            "work_pool": {"name": pool},
            "concurrency_limit": OVERLAP,
            "schedules": [HOURLY] if pool == "hourly" else [],
        }
        for pool in ("single", "plain", "ours", "hourly")
    ]
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
    project = {"name": "toys", "pull": pull, "deployments": entries}
    (folder / "prefect.yaml").write_text(yaml.safe_dump(project))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[PrefectServer]:
    with prefect_server(folder, auth=None) as server:
        server.call(
            "POST", "/work_pools/", {"name": "single", "type": "process"} | {"concurrency_limit": 1}
        )
        assert "kept" in server.run("-m", "flows.deploy", cwd=folder).stdout
        yield server


def is_due(run: dict[str, Any]) -> bool:
    return dt.datetime.fromisoformat(run["expected_start_time"]) < dt.datetime.now(dt.UTC)


def miss_ticks(server: PrefectServer, deployment: str) -> None:
    """Let a schedule have ``TICKS`` ticks while no worker is there."""
    path = f"/deployments/{server.deployment_id(deployment)}/schedules"
    every_second = {"active": True, "schedule": {"interval": 1}}
    (made,) = server.call("POST", path, [every_second])

    def were_missed() -> bool:
        return sum(map(is_due, server.runs(deployment))) >= TICKS

    wait_until(were_missed, 60, lambda: f"too few runs: {server.runs(deployment)}")
    server.call("PATCH", f"{path}/{made['id']}", {"active": False})
    for run in server.runs(deployment)[TICKS:]:
        server.call("DELETE", f"/flow_runs/{run['id']}")


@contextmanager
def our_worker(server: PrefectServer, folder: Path) -> Iterator[Path]:
    log_path = folder / "ours.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.worker", "--pool", "ours", "--type", "process"],
            cwd=folder,
            env=server.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield log_path
    finally:
        end(process)


def test_five_missed_ticks_are_one_run_that_says_so(server: PrefectServer, folder: Path) -> None:
    pools = ("single", "plain", "ours")
    for pool in pools:
        miss_ticks(server, f"retrain/{pool}")
    with ExitStack() as stack:
        log = stack.enter_context(our_worker(server, folder))
        for pool in ("single", "plain"):
            stack.enter_context(process_worker(server, pool, folder))

        def have_ended() -> bool:
            ended = {"COMPLETED", "CANCELLED"}
            return all(
                run["state"]["type"] in ended
                for pool in pools
                for run in server.runs(f"retrain/{pool}")
            )

        wait_until(have_ended, RUN_S, lambda: f"not ended: {tail(log)}")
    states = {
        pool: [run["state"] for run in server.runs(f"retrain/{pool}") if run["auto_scheduled"]]
        for pool in pools
    }
    for pool, ended in states.items():
        assert len(ended) == TICKS
        (ran,) = (state for state in ended if state["type"] == "COMPLETED")
        assert ran["message"].startswith(f"stands for {TICKS} ticks of the schedule, due "), pool
        assert ran["message"].endswith("; ran train")
    # ours: none was cancelled by the limit, which would be reported as a failure
    names = sorted(state["name"] for state in states["ours"])
    assert names == ["Completed", *["Missed"] * (TICKS - 1)]
    assert f"worker: ours: {TICKS - 1} ticks missed, due " in log.read_text()


def test_a_new_deployment_removes_what_others_have_set_only_when_told(
    server: PrefectServer, folder: Path
) -> None:
    deployment = server.deployment_id("retrain/hourly")
    path = f"/deployments/{deployment}/schedules"
    noon = {"active": True, "schedule": {"cron": "0 12 * * *", "timezone": "UTC"}}
    server.call("POST", path, [noon])
    in_an_hour = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": in_an_hour.isoformat()}}
    body = {"name": "a colleague's", "state": state}
    by_hand = server.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]

    def at_noon() -> int:
        return sum(
            "T12:00:00" in run["expected_start_time"] for run in server.runs("retrain/hourly")
        )

    wait_until(lambda: at_noon() >= 2, 30, lambda: "the schedule has no runs")
    refused = server.run("-m", "flows.deploy", cwd=folder, check=False)
    assert refused.returncode == 1
    (line,) = refused.stderr.strip().splitlines()
    assert f"retrain/hourly: schedule '0 12 * * *' UTC ({at_noon()} pending runs)" in line
    kept = server.run("-m", "flows.deploy", "--keep", cwd=folder).stdout
    assert "deploy: keeps retrain/hourly: schedule '0 12 * * *' UTC" in kept
    assert at_noon() >= 2
    done = server.run("-m", "flows.deploy", "--replace", cwd=folder)
    assert "deploy: replaces retrain/hourly: schedule '0 12 * * *' UTC" in done.stdout
    (left,) = server.call("GET", f"/deployments/{deployment}")["schedules"]
    assert left["schedule"]["cron"] == HOURLY["cron"]
    assert at_noon() == 0
    assert server.state(by_hand).name == "Scheduled"  # runs by hand are never touched
