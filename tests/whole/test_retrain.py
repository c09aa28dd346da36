"""The retraining as it is deployed: our prefect.yaml, a real server and worker, a small clone."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.whole.clone import Clone, make_small_clone
from tests.whole.prefect_stack import (
    PrefectServer,
    Receiver,
    State,
    postgres_binaries,
    postgres_cluster,
    prefect_server,
    process_worker,
    wait_until,
    webhook_receiver,
)
from tests.whole.test_prefect_server import BLOCK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUN_S = 400.0
SILENCE_S = 35
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
STAGES = ["download", "prepare", "train", "evaluate", "export"]
LONG = {
    "train.epochs": 20000,
    "train.checkpoint_interval_s": 0.2,
    "train.sample_every_epochs": 10000,
}


@dataclasses.dataclass
class Station:
    """A clone deployed on a server, with a worker."""

    clone: Clone
    server: PrefectServer
    receiver: Receiver
    stack: ExitStack
    worker: Any = None

    def start_worker(self) -> None:
        self.worker = self.stack.enter_context(
            process_worker(self.server, "colorizer", self.clone.folder)
        )

    @property
    def workspace(self) -> Path:
        return self.clone.folder / ".work" / "retrain" / "clone"

    def retrain(self, **parameters: Any) -> str:
        return self.server.start_run("retrain/retrain", **parameters)

    def finish(self, run_id: str) -> State:
        return self.server.wait_for_state(run_id, TERMINAL, RUN_S)

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Name of a task → its run, in the order they began."""
        body = {"flow_runs": {"id": {"any_": [run_id]}}}
        runs = self.server.call("POST", "/task_runs/filter", body)
        runs.sort(key=lambda run: run["start_time"] or "")
        return {run["name"].rsplit("-", 1)[0]: run for run in runs}

    def log(self, run_id: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.server.call("POST", "/logs/filter", body))

    def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        body = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        return {a["key"]: a for a in self.server.call("POST", "/artifacts/filter", body)}

    def processes(self) -> list[psutil.Process]:
        """Whatever runs in the workspace."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.workspace):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def run_processes(self, run_id: str) -> list[psutil.Process]:
        """Whatever Prefect's worker started for a run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait_for_checkpoint(self, *, after: int) -> int:
        """Wait until the training in the workspace has come further; return how far."""

        def newest() -> int:
            found = self.workspace.glob(".work/train/*/checkpoint-*.safetensors")
            return max((path.stat().st_mtime_ns for path in found), default=0)

        wait_until(lambda: newest() > after, RUN_S, lambda: "no checkpoint came")
        return newest()

    def history(self) -> list[list[str]]:
        printed = self.clone.run("python", "-m", "flows.history").stdout
        return [line.split() for line in printed.splitlines()[1:]]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    if postgres_binaries() is None:
        pytest.skip("needs PostgreSQL's initdb, postgres and pg_isready")
    clone = make_small_clone(tmp_path_factory.mktemp("retrain") / "repository")
    clone.set_params({"download": {"sample_test_pairs": 24}})
    clone.commit()
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        url = stack.enter_context(postgres_cluster(folder))
        bare = stack.enter_context(prefect_server(folder, url))
        receiver = stack.enter_context(webhook_receiver())
        of_prefect = {k: v for k, v in bare.environment.items() if k.startswith("PREFECT")}
        others = {k: v for k, v in clone.environment.items() if not k.startswith("PREFECT")}
        environment = others | of_prefect | {"PWD": str(clone.folder), "NO_PROXY": "127.0.0.1"}
        server = dataclasses.replace(bare, environment=environment)
        server.run("-c", BLOCK, receiver.url, cwd=clone.folder)
        options = ("--notify", "custom-webhook/ops", "--silence", str(SILENCE_S))
        server.run("-m", "flows.ui.automations", *options, cwd=clone.folder)
        station = Station(clone, server, receiver, stack)
        station.start_worker()
        server.run("-m", "prefect", "--no-prompt", "deploy", "--all", cwd=clone.folder)
        yield station


@pytest.fixture(scope="module")
def first(station: Station) -> str:
    """The first retraining, from nothing."""
    run = station.retrain()
    assert station.finish(run).type == "COMPLETED"
    return run


def test_a_retraining_runs_the_stages_and_leaves_its_evidence(station: Station, first: str) -> None:
    tasks = station.tasks(first)
    assert [name for name in tasks if name in STAGES] == STAGES
    assert {tasks[name]["state"]["name"] for name in STAGES} == {"Completed"}
    log = station.log(first)
    assert "> python -m pipeline_steps train" in log
    assert "best by val L1" in log
    artifacts = station.artifacts(first)
    assert {"metrics", "test-grid", "training-strips", "comparison"} <= set(artifacts)
    assert artifacts["test-grid"]["data"].startswith("data:image/jpeg;base64,")
    assert "/versions/1" in artifacts["mlflow-version"]["data"]
    assert len(station.clone.versions()) == 1
    assert len(station.history()) == 1
    assert not (station.clone.folder / "models").exists()  # a person's checkout is left alone


def test_unchanged_nothing_is_trained_registered_or_decided(station: Station, first: str) -> None:
    run = station.retrain()
    state = station.finish(run)
    assert (state.type, state.name) == ("COMPLETED", "Unchanged")
    assert state.message.startswith("ran download; no new version: sketch-colorizer version 1")
    tasks = station.tasks(run)
    assert {name: tasks[name]["state"]["name"] for name in STAGES} == {
        "download": "Completed",
        **dict.fromkeys(STAGES[1:], "Cached"),
    }
    assert len(station.clone.versions()) == 1
    assert len(station.history()) == 1


def test_a_bad_param_fails_at_once_and_is_reported_in_one_line(
    station: Station, first: str
) -> None:
    before = len(station.receiver.received)
    run = station.retrain(overrides={"train.batch_size": 0})
    state = station.finish(run)
    assert state == State("FAILED", "Failed", "train.batch_size: must be ≥ 1, got 0")
    assert station.tasks(run)["workspace"]["run_count"] == 1
    # the run's process sends its last lines when it ends, after the state
    wait_until(lambda: not station.run_processes(run), 60, lambda: "the run's process stays")
    assert "Traceback" not in station.log(run)
    assert "unexpected exception" not in station.log(run)
    received = station.receiver.received
    wait_until(lambda: len(received) > before, 60, lambda: "nothing was received")
    assert "Reason: train.batch_size: must be ≥ 1, got 0" in received[-1][1]["text"]


def test_a_missing_ref_is_reported(station: Station, first: str) -> None:
    state = station.finish(station.retrain(ref="no-such-branch"))
    assert state.type == "FAILED"
    assert "has no git ref 'no-such-branch'" in state.message


def test_cancelled_killed_and_resumed(station: Station, first: str) -> None:
    """An endless training is cancelled, goes on, loses its worker, and goes on again."""
    begun = time.time_ns()
    cancelled = station.retrain(overrides=LONG, promote="no")
    station.wait_for_checkpoint(after=begun)
    assert station.processes()
    station.server.cancel(cancelled)
    wait_until(lambda: not station.processes(), 60, lambda: f"left: {station.processes()}")
    assert station.finish(cancelled).type == "CANCELLED"

    begun = time.time_ns()  # the cancelled one kept a last checkpoint
    lost = station.retrain(overrides=LONG, promote="no")
    station.wait_for_checkpoint(after=begun)
    second = station.retrain(overrides=LONG)
    assert station.finish(second).type == "CANCELLED"  # two retrainings never overlap
    station.worker.kill()
    wait_until(lambda: not station.processes(), 60, lambda: f"left: {station.processes()}")
    assert station.finish(lost).type == "CRASHED"

    station.start_worker()
    resumed = station.retrain(overrides=LONG, promote="no")
    resumes = "resumes from the newest checkpoint"
    wait_until(lambda: resumes in station.log(resumed), RUN_S, lambda: station.log(resumed))
    station.server.cancel(resumed)
    assert station.finish(resumed).type == "CANCELLED"
