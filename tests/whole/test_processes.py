"""Data-parallel training in two processes over gloo: of torchrun on one machine and on two, and of
Ray Train; processes are killed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAINING = {
    "train": {
        "epochs": 40,
        "checkpoint_interval_s": 0.2,
        "sample_every_epochs": 20,
        "processes": 2,
        "collapse_epochs": 0,
    }
}
ON_RAY = {"train": {"engine": "ray"}}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
STAGE = ("--max-restarts", "3", "-m", "pipeline_steps", "train")
OUTPUTS = ("models/generator.safetensors", "reports/train/history.csv")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Trained by torchrun, without an interruption."""
    clone = make_small_clone(tmp_path_factory.mktemp("processes") / "repository")
    clone.set_params(TRAINING)
    clone.commit()
    clone.dvc("repro", "prepare")
    clone.run(*TORCHRUN, "--standalone", "--nproc-per-node", "2", *STAGE)
    return clone


@pytest.fixture
def clone(reference: Clone, tmp_path: Path) -> Clone:
    """The reference before its training."""
    clone = reference.copy_to(tmp_path / "killed")
    clone.run("cp", "-r", str(reference.folder / "data"), str(reference.folder / "dvc.lock"), ".")
    return clone


def test_a_killed_rank_is_restarted_and_the_training_resumes_to_the_same_bytes(
    reference: Clone, clone: Clone
) -> None:
    command = (*TORCHRUN, "--standalone", "--nproc-per-node", "2", *STAGE)
    with started(clone, *command) as process:
        wait_for_checkpoints(clone, process)
        find(process, lambda child: child.environ().get("RANK") == "1").kill()
        printed = finish(process)
    assert "resumes from the newest checkpoint" in printed
    assert_equal(clone, reference)

    clone.dvc("commit", "-f", "train")
    assert "Stage 'train' didn't change" in clone.dvc("repro", "evaluate")


def test_two_machines_train_together_and_a_killed_rank_changes_no_byte(
    reference: Clone, clone: Clone
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    machine = [
        *(*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, *STAGE),
    ]
    with started(clone, *machine) as first, started(clone, *machine) as second:
        wait_for_checkpoints(clone, first)
        find(second, lambda child: "RANK" in child.environ()).kill()
        printed = finish(first) + finish(second)
    assert "resumes from the newest checkpoint" in printed
    assert_equal(clone, reference)


def test_dvc_trains_on_ray_and_a_killed_worker_changes_no_byte(
    reference: Clone, clone: Clone
) -> None:
    clone.set_params(ON_RAY)
    with started(clone, "dvc", "repro", "train") as process:
        wait_for_checkpoints(clone, process)
        find(process, lambda child: "TrainWorker" in child.name()).kill()
        printed = finish(process)
    assert "2 processes on the Ray cluster" in printed
    assert "resumes from the newest checkpoint" in printed
    assert_equal(clone, reference)


@contextmanager
def started(clone: Clone, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, which is killed at the end."""
    process = subprocess.Popen(
        command,
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finish(process: subprocess.Popen[str]) -> str:
    """What a command prints until its end, which must be a success."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return printed


def wait_for_checkpoints(clone: Clone, process: subprocess.Popen[str]) -> None:
    """Wait until there are two checkpoints."""
    deadline_s = time.monotonic() + 300
    while len(list((clone.folder / ".work" / "train").glob("*/checkpoint-*"))) < 2:
        assert time.monotonic() < deadline_s, "no checkpoint was written"
        assert process.poll() is None, finish(process)
        time.sleep(0.02)


def find(process: subprocess.Popen[str], is_it: Callable[[psutil.Process], bool]) -> psutil.Process:
    """The first process below one of which it is so."""
    return next(filter(is_it, psutil.Process(process.pid).children(recursive=True)))


def assert_equal(clone: Clone, reference: Clone) -> None:
    for file in OUTPUTS:
        assert clone.sha256(file) == reference.sha256(file), file
