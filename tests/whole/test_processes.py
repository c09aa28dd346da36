"""Data-parallel training in two processes with torchrun and gloo; one process is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LONG_TRAINING = {"train": {"epochs": 40, "checkpoint_interval_s": 0.2, "sample_every_epochs": 20}}
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
    *("--nproc-per-node", "2", "--max-restarts", "1", "-m", "pipeline_steps", "train"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = make_small_clone(tmp_path_factory.mktemp("processes") / "repository")
    clone.set_params(LONG_TRAINING)
    clone.dvc("repro", "prepare")
    return clone


def test_a_killed_rank_is_restarted_and_the_training_resumes_to_the_same_bytes(
    prepared: Clone, tmp_path: Path
) -> None:
    reference = prepared.copy_to(tmp_path / "reference")
    for clone in (reference, killed := prepared.copy_to(tmp_path / "killed")):
        clone.set_params(LONG_TRAINING)
        clone.run("cp", "-r", str(prepared.folder / "data"), ".")
    reference.run(*TORCHRUN)

    process = subprocess.Popen(
        TORCHRUN,
        cwd=killed.folder,
        env=killed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        rank_1 = wait_for_rank_1(process, killed.folder / ".work" / "train")
        rank_1.kill()
        printed, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed
    assert "resumes from the newest checkpoint" in printed
    for file in ("models/generator.safetensors", "reports/train/history.csv"):
        assert killed.sha256(file) == reference.sha256(file)

    killed.dvc("commit", "-f", "train")
    assert "Stage 'train' didn't change" in killed.dvc("repro", "evaluate")


def wait_for_rank_1(process: subprocess.Popen[str], work: Path) -> psutil.Process:
    """The process of rank 1, once there are two checkpoints."""
    deadline_s = time.monotonic() + 300
    while len(list(work.glob("*/checkpoint-*"))) < 2:
        assert time.monotonic() < deadline_s, "no checkpoint was written"
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.02)
    for child in psutil.Process(process.pid).children():
        if child.environ().get("RANK") == "1":
            return child
    raise AssertionError("torchrun started no second process")
