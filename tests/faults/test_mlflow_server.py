"""A stopped, unresponsive or slow MLflow server: training doesn't wait, no entry is lost."""

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults.faulty_proxy import FaultyProxy, mlflow_behind_proxy
from tests.faults.killing import TRAIN, start, wait_for_session_end
from tests.faults.report import FULL, report
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 60
TRAIN_PARAMS = {
    "epochs": EPOCHS,
    "checkpoint_interval_s": 0.5,
    "sample_every_epochs": 20,
    "generator_width": 8,
}
SAMPLES = [0, 20, 40, 60]
MODES = [("gone", 40), ("mute", 40), ("slow", None)] if FULL else [("slow", None)]
"""The proxy's mode from epoch 5 on, and the epoch at which it ends (None: at the end)."""


class MlflowSetup:
    """Makes clones with prepared pairs that log to a server behind a faulty proxy."""

    def __init__(self, prepared: Clone, proxy: FaultyProxy, folder: Path) -> None:
        self.prepared = prepared
        self.proxy = proxy
        self.folder = folder

    def clone(self, name: str) -> Clone:
        folder = Path(shutil.copytree(self.prepared.folder, self.folder / name, symlinks=True))
        uri = self.proxy.url

        class LoggingClone(Clone):
            @property
            def environment(self) -> dict[str, str]:
                return super().environment | {"MLFLOW_TRACKING_URI": uri, "NO_PROXY": "127.0.0.1"}

        clone = LoggingClone(folder)
        # trainings with equal params would share one MLflow run
        clone.set_params({"train": {"seed": sum(name.encode())}})
        return clone


@pytest.fixture(scope="module")
def mlflow_setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowSetup]:
    folder = tmp_path_factory.mktemp("mlflow-server")
    clone = make_small_clone(folder / "prepared")
    clone.set_params({"train": TRAIN_PARAMS})
    clone.dvc("repro", "prepare")
    with mlflow_behind_proxy(folder) as proxy:
        yield MlflowSetup(clone, proxy, folder)


def journal(clone: Clone) -> list[dict[str, Any]]:
    (path,) = clone.folder.glob(".work/train/*/outbox/journal.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def epoch_interval_s(clone: Clone) -> float:
    """The median time between two epochs' log entries: steps, validation and logging."""
    times: list[float] = [
        e["content"]["time_ms"] for e in journal(clone) if e["key"].startswith("epoch ")
    ]
    # while the first entries are sent, the imports for it take one of two cores
    times = times[len(times) // 4 :]
    return statistics.median(b - a for a, b in pairwise(times)) / 1000


def require_complete_run(clone: Clone) -> str:
    """Check that the server has every metric, picture and file exactly once; return counts."""
    script = """
import json
from pathlib import Path
from pipeline_steps.tracking.mlflow_server import connect
client = connect()
run_id = json.loads(Path("models/run.json").read_text())["run_id"]
run = client.get_run(run_id)
rows = [(m.key, m.step) for key in run.data.metrics for m in client.get_metric_history(run_id, key)]
def files(folder=None):
    for item in client.list_artifacts(run_id, folder):
        yield from files(item.path) if item.is_dir else [item.path]
print(json.dumps([run.info.status, rows, list(files()), run.data.params]))
"""
    printed = clone.run(sys.executable, "-c", script).stdout.splitlines()[-1]
    status, rows, files, params = json.loads(printed)
    assert status == "FINISHED"
    counts = Counter(map(tuple, rows))
    assert set(counts.values()) == {1}, [row for row, count in counts.items() if count > 1]
    for step in range(1, EPOCHS + 1):
        assert counts["val/l1", step] == 1, step
    entries = journal(clone)
    logged = sum(len(e["content"]["values"]) for e in entries if e["kind"] == "metrics")
    assert len(rows) == logged
    pictures = sorted(re.findall(r"samples\+step\+(\d+)\+[^/]*-\w+\.png", "\n".join(files)))
    assert sorted(map(int, pictures)) == SAMPLES
    assert {"strips.png", "environment.json", "pipeline/params.yaml"} <= set(files)
    assert params["train.epochs"] == str(EPOCHS)
    return f"metrics {len(rows)} / {logged}, pictures {len(pictures)} / {len(SAMPLES)}"


def train_with_fault(
    mlflow_setup: MlflowSetup, clone: Clone, mode: Any, *, back_at_epoch: int | None
) -> str:
    """Train with the proxy in ``mode`` from epoch 5 to ``back_at_epoch`` or the end."""
    watched, reader = start(clone, TRAIN)
    try:
        wait_for_epoch(clone, watched.process, 5)
        mlflow_setup.proxy.mode = mode
        if back_at_epoch:
            wait_for_epoch(clone, watched.process, back_at_epoch)
            mlflow_setup.proxy.mode = "open"
        watched.process.wait(400)
        reader.join(10)
    finally:
        watched.process.kill()
        mlflow_setup.proxy.mode = "open"
    printed = "".join(watched.lines)
    assert watched.process.returncode == 0, printed
    assert "Traceback" not in printed, printed
    return printed


def wait_for_epoch(clone: Clone, process: "subprocess.Popen[str]", epoch: int) -> None:
    deadline_s = time.monotonic() + 300
    while not any(
        f'"epoch {epoch}"' in path.read_text()
        for path in clone.folder.glob(".work/train/*/outbox/journal.jsonl")
    ):
        assert process.poll() is None, f"the training ended before epoch {epoch}"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture(scope="module")
def reference_s(mlflow_setup: MlflowSetup) -> float:
    """The time of an epoch with an available server."""
    clone = mlflow_setup.clone("calm")
    train_with_fault(mlflow_setup, clone, "open", back_at_epoch=None)
    require_complete_run(clone)
    return epoch_interval_s(clone)


@pytest.mark.parametrize(("mode", "back_at_epoch"), MODES)
def test_a_training_continues_and_all_entries_are_delivered(
    mlflow_setup: MlflowSetup, reference_s: float, mode: str, back_at_epoch: int | None
) -> None:
    clone = mlflow_setup.clone(mode)
    printed = train_with_fault(mlflow_setup, clone, mode, back_at_epoch=back_at_epoch)
    assert "wait for MLflow" not in printed
    found = require_complete_run(clone)
    report(f"MLflow {mode}: {found}; epoch time ×{epoch_interval_s(clone) / reference_s:.2f}")


@pytest.mark.skipif(not FULL, reason="a minute; `make faults`")
def test_entries_of_a_training_without_a_server_are_delivered_by_one_command(
    mlflow_setup: MlflowSetup, reference_s: float
) -> None:
    clone = mlflow_setup.clone("gone past the end")
    printed = train_with_fault(mlflow_setup, clone, "gone", back_at_epoch=None)
    assert re.search(r"train: \d+ entries wait for MLflow at http://127", printed)
    assert "python -m pipeline_steps deliver" in printed
    for _ in range(2):
        clone.run(sys.executable, "-m", "pipeline_steps", "deliver")
        found = require_complete_run(clone)
    report(
        f"MLflow down to the end, then deliver twice: {found};"
        f" epoch time ×{epoch_interval_s(clone) / reference_s:.2f}"
    )


def test_a_training_killed_while_the_server_is_down_resumes_and_delivers_all(
    mlflow_setup: MlflowSetup,
) -> None:
    clone = mlflow_setup.clone("killed")
    watched, reader = start(clone, TRAIN)
    try:
        wait_for_epoch(clone, watched.process, 5)
        mlflow_setup.proxy.mode = "gone"
        wait_for_epoch(clone, watched.process, 20)
        watched.kill("all")
        watched.process.wait()
        reader.join(10)
        wait_for_session_end(watched.process.pid)
        refused = clone.run(*TRAIN, check=False)
        assert refused.returncode == 75
        assert len(refused.stderr.splitlines()) == 1
    finally:
        mlflow_setup.proxy.mode = "open"
    clone.run(*TRAIN)
    report(
        f"MLflow down, kill -9, start refused while down, run again: {require_complete_run(clone)}"
    )
