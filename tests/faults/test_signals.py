"""SIGINT and SIGTERM: a stage exits within seconds, without a traceback, and can be resumed."""

import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.faults.conftest import ReferenceRun
from tests.faults.killing import (
    PHASES,
    TRAIN,
    Watched,
    finish,
    hashes,
    start,
    start_for,
    wait_for_session_end,
)
from tests.faults.report import FULL, report
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 1000)]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
RUNS = 4 if FULL else 1
LIMIT_S = 10.0
"""The notice of a preempted machine; checked in full runs only."""
PAPER = {
    "generator_width": 64,
    "discriminator_width": 64,
    "load_size": 286,
    "batch_size": 1,
    "epochs": 100,
    "checkpoint_interval_s": 3600.0,
}


@pytest.mark.parametrize("seed", [4, 5] if FULL else [4])
def test_a_signalled_stage_exits_within_seconds_and_resumes_to_the_same_bytes(
    reference: ReferenceRun, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    longest_s, num_sent = 0.0, 0
    for run in range(RUNS):
        clone = reference.clone.copy_to(tmp_path / f"run-{run}")
        for turn, phase in enumerate(PHASES, seed + run):
            number = SIGNALS[turn % 2]
            watched, reader = start_for(phase, clone)
            if not (watched.wait_for(phase) and watched.is_running_after(rng.uniform(0.1, 4))):
                continue
            # a terminal signals the whole process group, an orchestrator only its child
            send = os.killpg if number == signal.SIGINT else os.kill
            send(watched.process.pid, number)
            sent_s = time.monotonic()
            assert not watched.is_running_after(60), "".join(watched.lines)
            wait_for_session_end(watched.process.pid)
            longest_s = max(longest_s, time.monotonic() - sent_s)
            num_sent += 1
            reader.join(60)
            if not watched.process.returncode:  # the signal came when the command was done
                assert phase == PHASES[-1], "".join(watched.lines)
                assert len(clone.versions()) == 1
            assert "Traceback" not in "".join(watched.lines), "".join(watched.lines)
        finish(clone)
        assert hashes(clone) == reference.hashes
        assert len(clone.versions()) == 1
    assert num_sent
    assert longest_s < LIMIT_S or not FULL
    report(
        f"SIGINT and SIGTERM alternately to dvc repro and register: {num_sent} sent in {RUNS} runs,"
        f" ended within {longest_s:.1f} s; finished {RUNS}, hashes equal {RUNS}"
    )


def train_first_epoch(clone: Clone) -> tuple[Watched, threading.Thread]:
    """Prepare the pairs and start a training; return when its first epoch has ended."""
    clone.dvc("repro", "prepare")
    watched, reader = start(clone, TRAIN)
    while not list(clone.folder.glob(".work/train/*/samples/epoch_0001.png")):
        assert watched.process.poll() is None, "".join(watched.lines)
        time.sleep(0.02)
    return watched, reader


@pytest.mark.parametrize("number", SIGNALS if FULL else SIGNALS[-1:])
def test_a_signalled_training_saves_its_last_step_and_prints_it(
    reference: ReferenceRun, tmp_path: Path, number: signal.Signals
) -> None:
    clone = reference.clone.copy_to(tmp_path / "clone")
    clone.set_params({"train": {"checkpoint_interval_s": 3600.0}})  # only the last checkpoint
    watched, reader = train_first_epoch(clone)
    watched.process.send_signal(number)
    watched.process.wait(60)
    reader.join(60)
    assert watched.process.returncode == 128 + number
    (line,) = (line for line in watched.lines if line.startswith("interrupted"))
    assert re.match(r"interrupted, checkpoint saved at epoch \d+, step \d+: run", line)
    assert "Traceback" not in "".join(watched.lines)
    clone.dvc("repro", "train")
    weights = "models/generator.safetensors"
    assert clone.sha256(weights) == reference.hashes[weights]


@pytest.mark.skipif(not FULL, reason="minutes; `make faults`")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signalled_training_of_the_papers_networks_is_saved(
    tmp_path: Path, number: signal.Signals
) -> None:
    clone = make_small_clone(tmp_path / "clone")
    clone.set_params({"prepare": {"image_size": 256}, "train": PAPER})
    watched, reader = train_first_epoch(clone)
    watched.process.send_signal(number)
    sent_s = time.monotonic()
    assert not watched.is_running_after(60), "".join(watched.lines)
    ended_s = time.monotonic() - sent_s
    reader.join(60)
    assert watched.process.returncode == 128 + number, "".join(watched.lines)
    (checkpoint,) = clone.folder.glob(".work/train/*/checkpoint-*")
    report(
        f"{number.name} to a training with the paper's networks at 256 px: checkpoint of"
        f" {checkpoint.stat().st_size / 1e6:.0f} MB, ended within {ended_s:.1f} s"
    )
    assert ended_s < LIMIT_S
