"""kill -9 at random moments: the same command resumes and gives the same bytes."""

import json
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from pipeline_steps.train.checkpoint import list_checkpoints
from tests.faults.conftest import ReferenceRun
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
from tests.faults.report import FULL, report
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 1000)]

KILLS = 50 if FULL else 6
TRAINING_KILLS = 50 if FULL else 3
KILLS_PER_RUN = 6
PRINT_MLFLOW_RUN = """
import json, sys
from pipeline_steps.tracking.mlflow_server import connect
client = connect()
rows = client.get_metric_history(sys.argv[1], "val/l1")
print(json.dumps([len(client.search_runs(["1"])), [row.step for row in rows]]))
"""


def test_a_killed_pipeline_resumes_to_the_same_bytes(
    reference: ReferenceRun, tmp_path: Path
) -> None:
    assert tuple(reference.durations_s) == PHASES
    rng = random.Random(1)
    num_kills, num_runs, in_phase = 0, 0, dict.fromkeys(PHASES, 0)
    while num_kills < KILLS:
        num_runs += 1
        clone = reference.clone.copy_to(tmp_path / f"run-{num_runs}")
        # the phases of the kills must be in order, since finished phases don't run again
        for phase in sorted(rng.choices(PHASES, k=KILLS_PER_RUN), key=PHASES.index):
            victim: Victim = rng.choices(("all", "dvc", "stage"), weights=(4, 1, 1))[0]
            after_s = rng.uniform(0, reference.durations_s[phase])
            if num_kills < KILLS and run_and_kill(
                clone, phase=phase, after_s=after_s, victim=victim
            ):
                num_kills += 1
                in_phase[phase] += 1
        finish(clone)
        assert hashes(clone) == reference.hashes, f"run {num_runs}"
        assert len(clone.versions()) == 1, f"run {num_runs}"
        assert not list(clone.folder.glob("**/.*.part*")), "temporary files remain"
        shutil.rmtree(clone.folder)
    kinds = ", ".join(f"{phase} {count}" for phase, count in in_phase.items())
    report(
        f"kill -9, dvc repro and register: {num_kills} kills ({kinds}) in {num_runs} runs; finished"
        f" {num_runs}, hashes equal {num_runs}, runs with one version {num_runs}"
    )


def test_a_killed_training_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Checkpoints are written at every step, so that many kills interrupt the writing of one."""
    epochs = 120 if FULL else 24
    train = {"epochs": epochs, "checkpoint_interval_s": 0.0, "generator_width": 24}
    reference = make_small_clone(tmp_path / "reference")
    reference.set_params({"train": train})
    reference.commit()
    run_to_end(reference, [*REPRO, "prepare"])
    killed = Clone(shutil.copytree(reference.folder, tmp_path / "killed", symlinks=True))
    run_to_end(reference, TRAIN)

    rng = random.Random(2)
    lost_s: list[float] = []
    num_half_written = 0
    while len(lost_s) < TRAINING_KILLS:
        watched, reader = start(killed, TRAIN)
        previous = newest_checkpoint(killed)
        while newest_checkpoint(killed) == previous and watched.process.poll() is None:
            time.sleep(0.002)  # until this process has written a checkpoint
        if not watched.is_running_after(rng.uniform(0, 1.0)):
            break
        watched.kill("all")
        killed_at_s = time.time()
        watched.process.wait()
        reader.join()
        wait_for_session_end(watched.process.pid)
        checkpoint = newest_checkpoint(killed)
        assert checkpoint is not None
        lost_s.append(killed_at_s - checkpoint.stat().st_mtime)
        num_half_written += bool(list(killed.folder.glob(".work/train/*/.checkpoint-*")))
    assert len(lost_s) == TRAINING_KILLS, "the training ended before it was killed often enough"
    run_to_end(killed, TRAIN)
    for file in ("models/generator.safetensors", "models/generator_last.safetensors"):
        assert killed.sha256(file) == reference.sha256(file)
    assert killed.sha256("reports/train/history.csv") == reference.sha256(
        "reports/train/history.csv"
    )
    assert not list(killed.folder.glob(".work/train/*/.checkpoint-*"))
    # however often it was killed, a training has one MLflow run
    run_id = killed.json("models/run.json")["run_id"]
    printed = killed.run(sys.executable, "-c", PRINT_MLFLOW_RUN, run_id).stdout
    assert json.loads(printed.splitlines()[-1]) == [1, list(range(1, epochs + 1))]
    report(
        f"kill -9, training, a checkpoint every step: {len(lost_s)} kills,"
        f" {num_half_written} during the writing of a checkpoint; finished, hashes equal;"
        f" lost at most {max(lost_s):.2f} s, median {sorted(lost_s)[len(lost_s) // 2]:.2f} s"
    )


def newest_checkpoint(clone: Clone) -> Path | None:
    """The newest checkpoint of the clone's training."""
    found = [path for f in clone.folder.glob(".work/train/*") for path in list_checkpoints(f)]
    return max(found, default=None)
