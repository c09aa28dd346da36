"""Retraining as it is deployed: prefect.yaml, a real server and worker, a small clone."""

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

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
class Deployment:
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
        """Task name → its run, in the order of their start."""
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
        """The processes whose working folder is the workspace."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.workspace):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def run_processes(self, run_id: str) -> list[psutil.Process]:
        """The processes that Prefect's worker started for a run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait_for_checkpoint(self, *, after: int) -> int:
        """Wait for a checkpoint newer than ``after``; return its time (both in ns)."""

        def newest() -> int:
            found = self.workspace.glob(".work/train/*/checkpoint-*.safetensors")
            return max((path.stat().st_mtime_ns for path in found), default=0)

        wait_until(lambda: newest() > after, RUN_S, lambda: "no checkpoint was written")
        return newest()

    def history(self) -> list[list[str]]:
        printed = self.clone.run("python", "-m", "flows.history").stdout
        return [line.split() for line in printed.splitlines()[1:]]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
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
        prefect_variables = {k: v for k, v in bare.environment.items() if k.startswith("PREFECT")}
        clone_variables = {
            k: v for k, v in clone.environment.items() if not k.startswith("PREFECT")
        }
        environment = (
            clone_variables
            | prefect_variables
            | {"PWD": str(clone.folder), "NO_PROXY": "127.0.0.1"}
        )
        server = dataclasses.replace(bare, environment=environment)
        server.run("-c", BLOCK, receiver.url, cwd=clone.folder)
        options = ("--notify", "custom-webhook/ops", "--silence", str(SILENCE_S))
        server.run("-m", "flows.ui.automations", *options, cwd=clone.folder)
        deployment = Deployment(clone, server, receiver, stack)
        deployment.start_worker()
        server.run("-m", "prefect", "--no-prompt", "deploy", "--all", cwd=clone.folder)
        yield deployment


@pytest.fixture(scope="module")
def first(deployment: Deployment) -> str:
    """The id of the first retraining's flow run."""
    run = deployment.retrain()
    assert deployment.finish(run).type == "COMPLETED"
    return run


def test_a_retraining_runs_all_stages_and_records_its_results(
    deployment: Deployment, first: str
) -> None:
    tasks = deployment.tasks(first)
    assert [name for name in tasks if name in STAGES] == STAGES
    assert {tasks[name]["state"]["name"] for name in STAGES} == {"Completed"}
    log = deployment.log(first)
    assert "> python -m pipeline_steps train" in log
    assert "best by val L1" in log
    artifacts = deployment.artifacts(first)
    assert {"metrics", "test-grid", "training-strips", "comparison"} <= set(artifacts)
    assert artifacts["test-grid"]["data"].startswith("data:image/jpeg;base64,")
    assert "/versions/1" in artifacts["mlflow-version"]["data"]
    assert len(deployment.clone.versions()) == 1
    assert len(deployment.history()) == 1
    assert not (deployment.clone.folder / "models").exists()  # the checkout isn't changed


def test_without_changes_nothing_is_trained_registered_or_decided(
    deployment: Deployment, first: str
) -> None:
    run = deployment.retrain()
    state = deployment.finish(run)
    assert (state.type, state.name) == ("COMPLETED", "Unchanged")
    assert state.message.startswith("ran download; no new version: sketch-colorizer version 1")
    tasks = deployment.tasks(run)
    assert {name: tasks[name]["state"]["name"] for name in STAGES} == {
        "download": "Completed",
        **dict.fromkeys(STAGES[1:], "Cached"),
    }
    assert len(deployment.clone.versions()) == 1
    assert len(deployment.history()) == 1


def test_an_invalid_param_fails_without_retries_and_is_reported_in_one_line(
    deployment: Deployment, first: str
) -> None:
    before = len(deployment.receiver.received)
    run = deployment.retrain(overrides={"train.batch_size": 0})
    state = deployment.finish(run)
    assert state == State("FAILED", "Failed", "train.batch_size: must be ≥ 1, got 0")
    assert deployment.tasks(run)["workspace"]["run_count"] == 1
    # the run's process sends its last log lines after its state
    wait_until(
        lambda: not deployment.run_processes(run), 60, lambda: "the run's process is still running"
    )
    assert "Traceback" not in deployment.log(run)
    assert "unexpected exception" not in deployment.log(run)
    received = deployment.receiver.received
    wait_until(lambda: len(received) > before, 60, lambda: "nothing was received")
    assert "Reason: train.batch_size: must be ≥ 1, got 0" in received[-1][1]["text"]


def test_a_missing_ref_is_reported(deployment: Deployment, first: str) -> None:
    state = deployment.finish(deployment.retrain(ref="no-such-branch"))
    assert state.type == "FAILED"
    assert "has no git ref 'no-such-branch'" in state.message


def test_a_cancelled_or_killed_retraining_is_resumed(deployment: Deployment, first: str) -> None:
    """A long training is cancelled, resumed, killed with its worker, and resumed again."""
    started_ns = time.time_ns()
    cancelled = deployment.retrain(overrides=LONG, promote="no")
    deployment.wait_for_checkpoint(after=started_ns)
    assert deployment.processes()
    deployment.server.cancel(cancelled)
    wait_until(
        lambda: not deployment.processes(), 60, lambda: f"still running: {deployment.processes()}"
    )
    assert deployment.finish(cancelled).type == "CANCELLED"

    started_ns = time.time_ns()  # the cancelled run has written a last checkpoint
    lost = deployment.retrain(overrides=LONG, promote="no")
    deployment.wait_for_checkpoint(after=started_ns)
    second = deployment.retrain(overrides=LONG)
    assert deployment.finish(second).type == "CANCELLED"  # only one retraining runs at a time
    deployment.worker.kill()
    wait_until(
        lambda: not deployment.processes(), 60, lambda: f"still running: {deployment.processes()}"
    )
    assert deployment.finish(lost).type == "CRASHED"

    deployment.start_worker()
    resumed = deployment.retrain(overrides=LONG, promote="no")
    resumes = "resumes from the newest checkpoint"
    wait_until(lambda: resumes in deployment.log(resumed), RUN_S, lambda: deployment.log(resumed))
    deployment.server.cancel(resumed)
    assert deployment.finish(resumed).type == "CANCELLED"
