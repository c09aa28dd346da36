"""A full disk: the error is one line, old files stay intact, and the run can be resumed."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import PARAMS, ReferenceRun
from tests.faults.killing import PHASES, REPRO, finish, hashes, start, start_for
from tests.faults.report import FULL, report
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 1000)]

ROUNDS = 4 if FULL else 1
DISK_MB = 400
# of a stage before and during its work; of the system and of SQLite, as DVC prints them
MESSAGES = ("needs", "disk is full", "No space left", "disk I/O error")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a small temporary file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, free_bytes: int = 0) -> Path:
    """Fill the disk until ``free_bytes`` are left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        while left := max(0, get_free_bytes(disk) - free_bytes):
            try:
                file.write(b"\0" * min(left, 1 << 20))
            except OSError:
                break
    return filler


def get_free_bytes(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def run_failing_repro(clone: Clone) -> str:
    """Run the pipeline, which must fail without a traceback; return its output."""
    done = clone.run(*REPRO, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode, printed
    assert "Traceback" not in printed, printed
    return printed


def test_a_disk_that_fills_during_a_stage_is_reported_and_the_run_resumes(
    disk: Path, reference: ReferenceRun
) -> None:
    rng = random.Random(3)
    num_failed = 0
    for number in range(ROUNDS):
        clone = reference.clone.copy_to(disk / f"run-{number}")
        for phase in PHASES:
            watched, reader = start_for(phase, clone)
            after_s = rng.uniform(0, reference.durations_s[phase])
            if not (watched.wait_for(phase) and watched.is_running_after(after_s)):
                continue
            filler = fill(disk)
            watched.process.wait(300)
            reader.join()
            printed = "".join(watched.lines)
            filler.unlink()
            if watched.process.returncode:
                num_failed += 1
                assert "Traceback" not in printed, printed
                assert any(words in printed for words in MESSAGES), printed
                errors = [line for line in watched.lines if line.startswith("error: ")]
                assert not any("I/O error" in line for line in errors), printed
        finish(clone)
        assert hashes(clone) == reference.hashes
        assert len(clone.versions()) == 1
        clone.run("rm", "-rf", str(clone.folder))
    assert num_failed
    report(
        f"disk filled during a stage: {num_failed} failures in {ROUNDS} runs, all reported;"
        f" finished {ROUNDS}, hashes equal {ROUNDS}, runs with one version {ROUNDS}"
    )


def test_a_stage_is_refused_when_its_outputs_do_not_fit_on_the_disk(disk: Path) -> None:
    clone = make_small_clone(disk / "clone")
    clone.set_params(PARAMS)
    clone.dvc("repro", "download")
    filler = fill(disk, free_bytes=40_000_000)
    assert "error: packing 30 pairs needs" in run_failing_repro(clone)
    filler.unlink()

    clone.dvc("repro", "prepare")
    filler = fill(disk, free_bytes=40_000_000)
    assert "error: checkpoints needs" in run_failing_repro(clone)
    filler.unlink()

    if not FULL:
        return
    clone.dvc("repro", "evaluate")
    filler = fill(disk, free_bytes=40_000_000)
    assert "error: the exported folder needs" in run_failing_repro(clone)


def test_a_full_disk_leaves_the_existing_checkpoints(disk: Path) -> None:
    clone = make_small_clone(disk / "clone")
    clone.set_params({"train": {"epochs": 1000, "checkpoint_interval_s": 0.2}})
    clone.dvc("repro", "prepare")
    watched, reader = start(clone, [sys.executable, "-m", "pipeline_steps", "train"])
    try:
        while len(list(clone.folder.glob(".work/train/*/checkpoint-*"))) < 2:
            assert watched.process.poll() is None, "".join(watched.lines)
            time.sleep(0.02)
        fill(disk)
        watched.process.wait(60)
    finally:
        watched.process.kill()
        reader.join()
    printed = "".join(watched.lines)
    assert watched.process.returncode == 1, printed
    assert "Traceback" not in printed, printed
    assert len(list(clone.folder.glob(".work/train/*/checkpoint-*"))) == 2
    assert not list(clone.folder.glob(".work/train/*/.checkpoint-*"))
