"""``python -m flows.serve``, its server and its runs are killed as by a power failure."""

import datetime as dt
import functools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import yaml

from tests.whole.prefect_stack import (
    PrefectServer,
    children,
    end,
    free_port,
    kill_with_children,
    require_running,
    tail,
    wait_until,
    webhook_receiver,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START_S = 120.0
END_S = 60.0
TOLD_S = 60.0  # without our order of events it takes 15 minutes
PENDING_S = 30
FLOWS = """
import time
import flows
from prefect import flow

@flow(name="retrain")
def retrain(seconds: float = 0):
    time.sleep(seconds)

@flow(name="watch")
def watch(seconds: float = 0):
    time.sleep(seconds)
"""
SETUP = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from flows.ui.automations import ensure_failure_notification, ensure_start_detection
CustomWebhookNotificationBlock(
    name="ops", url=sys.argv[1], json_data={"title": "{{subject}}", "text": "{{body}}"}
).save("ops")
ensure_failure_notification("custom-webhook/ops")
ensure_start_detection(int(sys.argv[2]))
"""


class Served:
    """A folder with toy flows, served as ``make serve`` does."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.folder = folder
        self.database = folder / "home" / "prefect.db"
        self.command = [sys.executable, "-m", "flows.serve", "--port", str(port)]
        self.environment = kept | {"PREFECT_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
        url = f"http://127.0.0.1:{port}/api"
        client = self.environment | {"PREFECT_API_URL": url}
        self.server = PrefectServer(url, client, folder / "serve.log")
        limit = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        entry = {"description": "", "schedules": [], "concurrency_limit": limit}
        names = ("retrain", "watch")
        entries = [{"name": name, "entrypoint": f"toys.py:{name}", **entry} for name in names]
        (folder / "toys.py").write_text(FLOWS)
        (folder / "prefect.yaml").write_text(yaml.safe_dump({"deployments": entries}))

    @contextmanager
    def start(self) -> Iterator["subprocess.Popen[bytes]"]:
        with self.server.log_path.open("wb") as log:
            process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def served() -> bool:
            require_running(process, self.server.log_path)
            return "are being served" in self.printed()

        try:
            wait_until(served, START_S, lambda: tail(self.server.log_path))
            yield process
        finally:
            end(process)

    def printed(self) -> str:
        return self.server.log_path.read_text()

    def has_printed(self, text: str) -> bool:
        return text in self.printed()

    def sql(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            return connection.execute(statement, values).fetchall()


def test_after_a_power_failure_every_lost_run_is_told_and_the_next_ones_run(
    tmp_path: Path,
) -> None:
    served = Served(tmp_path)
    server = served.server
    with webhook_receiver() as receiver:

        def wait_for_message(run: str, title: str, reason: str) -> None:
            def arrived() -> bool:
                return any(
                    body["title"] == title and reason in body["text"] and run in body["text"]
                    for _, body in receiver.received
                )

            wait_until(arrived, TOLD_S, lambda: f"not received: {title}; {receiver.received}")

        with served.start() as process:
            server.run("-c", SETUP, receiver.url, str(PENDING_S), cwd=tmp_path)
            stuck = create_run(server, "watch/watch")
            set_pending(server, stuck)
            running = server.start_run("retrain/retrain", seconds=600)
            server.wait_for_state(running, {"RUNNING"}, START_S)
            refused = server.start_run("retrain/retrain")
            wait_for_message(refused, "retrain: Cancelled", "Deployment concurrency limit reached.")
            wait_for_message(stuck, "watch: Crashed", f"Pending for {PENDING_S} s")
            overdue = create_run(server, "retrain/retrain")
            pending = server.start_run("watch/watch", seconds=600)
            server.wait_for_state(pending, {"PENDING"}, START_S)
            kill_with_children(process)
        make_due(served, overdue)
        forgotten = watch_a_run_whose_time_is_up(served)
        with served.start() as process:
            assert is_watched(served, forgotten)
            for run, flow in ((running, "retrain"), (pending, "watch")):
                wait_for_message(run, f"{flow}: Crashed", "The process of this run was gone")
                assert server.state(run).type == "CRASHED"
                wait_until(functools.partial(served.has_printed, run), TOLD_S, served.printed)
            taken = server.wait_for_state(overdue, {"PENDING", "RUNNING", "CANCELLED"}, START_S)
            assert taken.type != "CANCELLED"
            following = server.start_run("watch/watch")
            ended = server.wait_for_state(following, {"COMPLETED", "CANCELLED"}, START_S)
            assert ended.type == "COMPLETED"
            family = children(process)
            (child,) = (each for each in family if "flows.ui.server" in each.cmdline())
            process.kill()
            child.wait(END_S)  # else it would keep the port
            kill_all(family)


def kill_all(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def create_run(server: PrefectServer, deployment: str) -> str:
    """A run of a deployment that isn't due for an hour."""
    at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at.isoformat()}}
    path = f"/deployments/{server.deployment_id(deployment)}/create_flow_run"
    return str(server.call("POST", path, {"state": state})["id"])


def set_pending(server: PrefectServer, run: str) -> None:
    """What is left of a run whose machine was lost before its process started."""
    body = {"state": {"type": "PENDING", "name": "Pending"}}
    server.call("POST", f"/flow_runs/{run}/set_state", body)


def make_due(served: Served, run: str) -> None:
    """Put a run's time into the minutes when no server was there."""
    at = f"{dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1):%Y-%m-%d %H:%M:%S.%f}"
    served.sql("UPDATE flow_run SET next_scheduled_start_time = ? WHERE id = ?", at, run)


def watch_a_run_whose_time_is_up(served: Served) -> str:
    """Have the server watch a run since a while ago; return the id of this watch."""
    identity = str(uuid4())
    copied = "automation_id, trigger_id, count, last_operation"
    past = f"{dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10):%Y-%m-%d %H:%M:%S.%f}"
    served.sql(
        f'INSERT INTO automation_bucket (id, bucketing_key, start, "end", {copied})'
        f" SELECT ?, ?, ?, ?, {copied} FROM automation_bucket WHERE automation_id IN (SELECT id"
        " FROM automation WHERE name LIKE '%silent%') LIMIT 1",
        identity,
        f'["prefect.flow-run.{identity}"]',
        past,
        past,
    )
    assert is_watched(served, identity)
    return identity


def is_watched(served: Served, identity: str) -> bool:
    return bool(served.sql("SELECT 1 FROM automation_bucket WHERE id = ?", identity))
