"""kill -9 at random moments: the same command resumes, and ends with the same bytes."""

import json
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from pipeline_steps.train.checkpoint import list_checkpoints
from tests.faults.conftest import Unbroken
from tests.faults.killing import (
    PHASES,
    REPRO,
    TRAIN,
    Victim,
    finish,
    hashes,
    run_and_kill,
    run_to_end,
    start,
    wait_for_session_end,
)
from tests.faults.report import FULL, tell
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 600)]

KILLS = 50 if FULL else 6
KILLS_OF_A_TRAINING = 50 if FULL else 3
KILLS_A_RUN = 6
RUN_IN_MLFLOW = """
import json, sys
from pipeline_steps.tracking.mlflow_server import connect
client = connect()
rows = client.get_metric_history(sys.argv[1], "val_l1")
print(json.dumps([len(client.search_runs(["1"])), [row.step for row in rows]]))
"""


def test_the_whole_pipeline(unbroken: Unbroken, tmp_path: Path) -> None:
    assert tuple(unbroken.durations_s) == PHASES
    draw = random.Random(1)
    num_kills, num_runs, in_phase = 0, 0, dict.fromkeys(PHASES, 0)
    while num_kills < KILLS:
        num_runs += 1
        clone = unbroken.clone.copy_to(tmp_path / f"run-{num_runs}")
        # a run can be killed once in each phase, twice where luck has it, but only forward
        for phase in sorted(draw.choices(PHASES, k=KILLS_A_RUN), key=PHASES.index):
            victim: Victim = draw.choices(("all", "dvc", "stage"), weights=(4, 1, 1))[0]
            after_s = draw.uniform(0, unbroken.durations_s[phase])
            if num_kills < KILLS and run_and_kill(
                clone, phase=phase, after_s=after_s, victim=victim
            ):
                num_kills += 1
                in_phase[phase] += 1
        finish(clone)
        assert hashes(clone) == unbroken.hashes, f"run {num_runs}"
        assert len(clone.versions()) == 1, f"run {num_runs}"
        assert not list(clone.folder.glob("**/.*.part*")), "temporary files are left"
        shutil.rmtree(clone.folder)
    kinds = ", ".join(f"{phase} {count}" for phase, count in in_phase.items())
    tell(
        f"kill -9, dvc repro and register: {num_kills} kills ({kinds}) in {num_runs} runs; finished"
        f" {num_runs}, hashes equal {num_runs}, runs with one version {num_runs}"
    )


def test_training_alone(tmp_path: Path) -> None:
    """A checkpoint before every step, of a wide network: most kills meet a half written one."""
    epochs = 120 if FULL else 24
    train = {"epochs": epochs, "checkpoint_interval_s": 0.0, "generator_width": 24}
    unbroken = make_small_clone(tmp_path / "unbroken")
    unbroken.set_params({"train": train})
    unbroken.commit()
    run_to_end(unbroken, [*REPRO, "prepare"])
    killed = Clone(shutil.copytree(unbroken.folder, tmp_path / "killed", symlinks=True))
    run_to_end(unbroken, TRAIN)

    draw = random.Random(2)
    lost_s: list[float] = []
    num_half_written = 0
    while len(lost_s) < KILLS_OF_A_TRAINING:
        watched, reader = start(killed, TRAIN)
        seen = newest(killed)
        while newest(killed) == seen and watched.process.poll() is None:
            time.sleep(0.002)  # until this process has added a checkpoint of its own
        if not watched.lives(draw.uniform(0, 1.0)):
            break
        watched.kill("all")
        killed_at_s = time.time()
        watched.process.wait()
        reader.join()
        wait_for_session_end(watched.process.pid)
        checkpoint = newest(killed)
        assert checkpoint is not None
        lost_s.append(killed_at_s - checkpoint.stat().st_mtime)
        num_half_written += bool(list(killed.folder.glob(".work/train/*/.checkpoint-*")))
    assert len(lost_s) == KILLS_OF_A_TRAINING, (
        "the training ended before it was killed often enough"
    )
    run_to_end(killed, TRAIN)
    for file in ("models/generator.safetensors", "models/generator_last.safetensors"):
        assert killed.sha256(file) == unbroken.sha256(file)
    assert killed.sha256("reports/train/history.csv") == unbroken.sha256(
        "reports/train/history.csv"
    )
    assert not list(killed.folder.glob(".work/train/*/.checkpoint-*"))
    # one training is one run, however often it was killed
    run_id = killed.json("models/run.json")["run_id"]
    printed = killed.run(sys.executable, "-c", RUN_IN_MLFLOW, run_id).stdout
    assert json.loads(printed.splitlines()[-1]) == [1, list(range(1, epochs + 1))]
    tell(
        f"kill -9, training, a checkpoint every step: {len(lost_s)} kills,"
        f" {num_half_written} met a half written checkpoint; finished, hashes equal; lost at most"
        f" {max(lost_s):.2f} s, median {sorted(lost_s)[len(lost_s) // 2]:.2f} s"
    )


def newest(clone: Clone) -> Path | None:
    """The newest checkpoint of the clone's training."""
    found = [path for f in clone.folder.glob(".work/train/*") for path in list_checkpoints(f)]
    return max(found, default=None)
