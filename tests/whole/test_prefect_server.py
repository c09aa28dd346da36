"""Prefect as it is deployed: PostgreSQL, a password, a process worker, automations."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml

from tests.whole.prefect_stack import (
    PrefectServer,
    Receiver,
    kill_with_children,
    postgres_binaries,
    postgres_cluster,
    prefect_server,
    process_worker,
    wait_until,
    webhook_receiver,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
START_S = 90.0  # importing Prefect and starting a run on a loaded machine
SILENCE_S = 35
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
FLOWS = """
import os, pathlib, time
from prefect import flow

@flow
def tick():
    pass

@flow
def hold(folder: str):
    (pathlib.Path(folder) / "pid").write_text(str(os.getpid()))
    while not (pathlib.Path(folder) / "release").exists():
        time.sleep(0.2)

@flow
def retrain():
    raise ValueError("the data is gone")

@flow
def other():
    raise ValueError("tagged\\nas ours")
"""
BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
CustomWebhookNotificationBlock(
    name="ops", url=sys.argv[1] + "/hook", json_data={"title": "{{subject}}", "text": "{{body}}"}
).save("ops")
"""


def deploy(server: PrefectServer, folder: Path, pool: str) -> None:
    """Write the test flows to a folder, and deploy each to the pool under the pool's name."""
    (folder / "toys.py").write_text(FLOWS)
    heartbeat = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    changes: dict[str, dict[str, Any]] = {
        "tick": {},
        "hold": {"concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"}},
        "retrain": {"tags": ["retrain", "promote"]},
        "other": {"tags": ["watch"]},
    }
    project = {
        "name": "toys",
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
        "deployments": [
            {
                "name": pool,
                "entrypoint": f"toys.py:{flow}",
                "work_pool": {"name": pool, "job_variables": heartbeat},
                **change,
            }
            for flow, change in changes.items()
        ],
    }
    (folder / "prefect.yaml").write_text(yaml.safe_dump(project))
    server.run("-m", "prefect", "--no-prompt", "deploy", "--all", cwd=folder)


def set_up_automations(server: PrefectServer) -> str:
    options = ("--notify", "custom-webhook/ops", "--silence", str(SILENCE_S))
    return server.run("-m", "flows.ui.automations", *options, cwd=REPOSITORY).stdout


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    if postgres_binaries() is None:
        pytest.skip("needs PostgreSQL's initdb, postgres and pg_isready")
    folder = tmp_path_factory.mktemp("server")
    with postgres_cluster(folder) as url, prefect_server(folder, url) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    bare: PrefectServer, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    """The server with the project's automations, a worker, and the test flows deployed."""
    folder = tmp_path_factory.mktemp("toys")
    bare.run("-c", BLOCK, receiver.url, cwd=folder)
    set_up_automations(bare)
    with process_worker(bare, "toys", folder):
        deploy(bare, folder, "toys")
        yield bare


@pytest.mark.parametrize("auth", [None, ("admin", "wrong"), ("", "")])
def test_a_request_without_the_password_is_refused(
    bare: PrefectServer, auth: tuple[str, str] | None
) -> None:
    response = requests.post(f"{bare.url}/flows/filter", json={}, auth=auth, timeout=30)
    assert response.status_code == 401


def test_a_filter_of_nulls_is_accepted(bare: PrefectServer) -> None:
    # with fastapi >= 0.151 the server answers 422 to such requests of its own client
    kinds = ("flows", "flow_runs", "task_runs", "deployments", "work_pools")
    assert bare.call("POST", "/flows/filter", dict.fromkeys(kinds)) == []


def test_scheduled_runs_start_on_time(server: PrefectServer) -> None:
    # with sqlalchemy 2.1 every loop of the scheduler fails, and no run is scheduled
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=20)
    cron = soon.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    anchor, start = (cron + dt.timedelta(seconds=seconds) for seconds in (1, 2))
    schedules: list[dict[str, Any]] = [
        {"cron": f"{cron:%M %H %d %m} *", "timezone": "UTC"},
        {"interval": 86400, "anchor_date": anchor.isoformat()},
        {"rrule": f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY", "timezone": "UTC"},
    ]
    path = f"/deployments/{server.deployment_id('tick/toys')}/schedules"
    server.call("POST", path, [{"active": True, "schedule": one} for one in schedules])
    wait_until(lambda: len(server.runs("tick/toys")) >= 3, 30, lambda: "nothing is scheduled")
    for run, expected in zip(server.runs("tick/toys"), (cron, anchor, start), strict=False):
        assert dt.datetime.fromisoformat(run["expected_start_time"]) == expected
        assert server.wait_for_state(run["id"], TERMINAL, 90 + START_S).type == "COMPLETED"
        started = server.call("GET", f"/flow_runs/{run['id']}")["start_time"]
        # a run may start some milliseconds early
        assert dt.datetime.fromisoformat(started) >= expected - dt.timedelta(seconds=1)


def test_a_second_run_is_cancelled_while_the_first_is_running(
    server: PrefectServer, tmp_path: Path
) -> None:
    first = server.start_run("hold/toys", folder=str(tmp_path))
    server.wait_for_state(first, {"RUNNING"}, START_S)
    second = server.start_run("hold/toys", folder=str(tmp_path))
    assert server.wait_for_state(second, TERMINAL, START_S).type == "CANCELLED"
    (tmp_path / "release").touch()
    assert server.wait_for_state(first, TERMINAL, START_S).type == "COMPLETED"


def test_a_cancelled_run_ends_with_its_process(server: PrefectServer, tmp_path: Path) -> None:
    run = server.start_run("hold/toys", folder=str(tmp_path))
    wait_until((tmp_path / "pid").exists, START_S, lambda: "the flow did not start")
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    server.cancel(run)
    assert server.wait_for_state(run, TERMINAL, START_S).type == "CANCELLED"
    process.wait(START_S)


def test_a_run_killed_with_its_worker_becomes_crashed_and_frees_its_concurrency_slot(
    server: PrefectServer, tmp_path: Path
) -> None:
    def has_heartbeat(run_id: str) -> bool:
        wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
        resource = {"resource": {"id": [f"prefect.flow-run.{run_id}"]}}
        found = server.call("POST", "/events/filter", {"filter": wanted | resource})
        return bool(found["total"])

    with process_worker(server, "doomed", tmp_path) as worker:
        deploy(server, tmp_path, "doomed")
        lost = server.start_run("hold/doomed", folder=str(tmp_path))
        wait_until(lambda: has_heartbeat(lost), START_S, lambda: "no heartbeat was received")
        kill_with_children(worker)
    state = server.wait_for_state(lost, TERMINAL, SILENCE_S + 60)
    assert state.type == "CRASHED"
    assert state.message.startswith(f"No heartbeat for {SILENCE_S} s")
    (tmp_path / "release").touch()
    with process_worker(server, "doomed", tmp_path):
        following = server.start_run("hold/doomed", folder=str(tmp_path))
        assert server.wait_for_state(following, TERMINAL, START_S).type == "COMPLETED"


def test_each_failure_is_reported_once_with_its_reason(
    server: PrefectServer, receiver: Receiver
) -> None:
    expected = []
    for flow, reason in (("retrain", "the data is gone"), ("other", "tagged as ours")):
        run = server.start_run(f"{flow}/toys")
        server.wait_for_state(run, {"FAILED"}, START_S)
        expected.append((flow, reason, run))
        # messages are sent in order: a duplicate would arrive before the next one
        wait_until(
            lambda: len(receiver.received) >= len(expected), 30, lambda: "nothing was received"
        )
    assert len(receiver.received) == 2
    for (path, body), (flow, reason, run) in zip(receiver.received, expected, strict=True):
        assert path == "/hook"
        assert body["title"] == f"{flow}: Failed"
        what, why, where = body["text"].splitlines()
        assert what.startswith(f"Flow {flow}, run ")
        assert f"ValueError: {reason}" in why
        assert where.endswith(run)


def test_setting_up_the_automations_again_makes_no_duplicates(server: PrefectServer) -> None:
    assert set_up_automations(server).count("kept the automation") == 3
    changed = server.run("-m", "flows.ui.automations", "--silence", "40", cwd=REPOSITORY).stdout
    assert "updated the automation" in changed
    set_up_automations(server)
    assert len(server.call("POST", "/automations/filter", {})) == 3


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"PREFECT_API_URL": ""}, (), "no Prefect server is named: set PREFECT_API_URL"),
        ({"PREFECT_API_URL": "http://u:secret@127.0.0.1:9/api"}, (), "no Prefect server answers"),
        ({"PREFECT_API_AUTH_STRING": "admin:wrong"}, (), "rejected the request (401)"),
        ({}, ("--notify", "custom-webhook/none"), "has no block custom-webhook/none"),
        ({}, ("--notify", "ops"), "--notify must be TYPE/NAME"),
        ({}, ("--silence", "30"), "--silence must be > 30"),
        ({}, ("--start", "29"), "--start must be ≥ 30"),
    ],
)
def test_a_failed_setup_of_the_automations_prints_one_line(
    server: PrefectServer, changes: dict[str, str], options: tuple[str, ...], message: str
) -> None:
    client = PrefectServer(server.url, server.environment | changes, server.log_path)
    # keep the silence that the other tests need
    options = ("--silence", str(SILENCE_S), *options)
    failed = client.run("-m", "flows.ui.automations", *options, cwd=REPOSITORY, check=False)
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "secret" not in line
