"""Promotions as real processes: concurrent ones, and ones killed at random moments."""

import fcntl
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from flows.promotion import ledger
from flows.promotion.versions import find_aliases
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
NAME = "sketch-colorizer"
NUM_CONCURRENT = int(os.environ.get("COLORIZER_PROMOTIONS", "5"))
KILLS = int(os.environ.get("COLORIZER_KILLS", "4"))
"""Each runs the command once; 20 take five minutes."""
LOCKED_S = 0.8
"""Roughly how long a promotion holds the lock; a larger value makes some kills come too late."""


@pytest.fixture
def registry(in_folder: Path) -> Path:
    return make_registry(in_folder, NAME)


def promote(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.promote", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_ledger_is_consistent(entries: list[ledger.Entry]) -> None:
    """Every entry is done, they form a chain, and the aliases match the last one."""
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry.state for entry in entries} <= {"done"}
    for earlier, later in itertools.pairwise(entries):
        assert later.champion_before == earlier.champion
    aliases = find_aliases(mlflow_server.connect(), NAME)
    assert aliases.get("champion") == (entries[-1].champion if entries else None)
    assert aliases.get("previous") == (entries[-1].previous if entries else None)


def test_concurrent_promotions_leave_one_champion_and_an_entry_each(registry: Path) -> None:
    processes = [
        promote(registry, str(1 + index % 2), "--unjudged", f"race {index}")
        for index in range(NUM_CONCURRENT)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert {process.returncode for process in processes} <= {0, 3}, outputs
    entries = ledger.read_entries(mlflow_server.connect(), NAME)
    assert len(entries) == NUM_CONCURRENT
    assert_ledger_is_consistent(entries)


def test_concurrent_judged_promotions_choose_the_better_version(registry: Path) -> None:
    processes = [promote(registry, str(version)) for version in (1, 2, 1, 2)]
    for process in processes:
        output = process.communicate(timeout=600)[0]
        assert process.returncode in (0, 3), output
    entries = ledger.read_entries(mlflow_server.connect(), NAME)
    assert len(entries) == 4
    assert entries[-1].champion == 2
    assert_ledger_is_consistent(entries)


def test_a_promotion_killed_at_a_random_moment_is_completed_or_has_no_effect(
    registry: Path,
) -> None:
    started_s = time.monotonic()
    process = promote(registry, "1", "--unjudged", "first")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    run_s = time.monotonic() - started_s
    rng = random.Random(1)
    outcomes: Counter[str] = Counter()
    client = mlflow_server.connect()
    for kill in range(KILLS):
        before = ledger.read_entries(client, NAME)
        version = 1 + (kill + 1) % 2
        process = promote(registry, str(version), "--unjudged", f"kill {kill}")
        if kill % 2:
            time.sleep(run_s * rng.uniform(0.5, 1.0))  # the first half is imports
        else:
            wait_for_lock(registry / "mlflow.db.lock", process)
            time.sleep(LOCKED_S * rng.random())
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        after_kill = ledger.read_entries(client, NAME)
        assert "(intent)" not in print_history(registry)  # completes the intent
        after = ledger.read_entries(client, NAME)
        assert_ledger_is_consistent(after)
        assert [entry.sequence for entry in after] == [entry.sequence for entry in after_kill]
        if len(after_kill) == len(before):
            outcomes["no effect"] += 1
            assert after[-1].champion == before[-1].champion
        else:
            outcomes[
                "completed by the next command" if after_kill[-1].state == "intent" else "done"
            ] += 1
            reason = f"unjudged: kill {kill}"
            assert after[-1].reason in (reason, f"it is the champion already ({reason})")
            assert after[-1].champion == version
    print(f"killed {KILLS} times: {dict(outcomes)}")
    assert len(after) == 1 + outcomes["completed by the next command"] + outcomes["done"]


@pytest.mark.parametrize(
    "function",
    [
        "flows.promotion.champion._move_aliases",
        "mlflow.MlflowClient.set_registered_model_alias",
        "flows.promotion.ledger.finish",
    ],
)
def test_a_promotion_killed_after_its_intent_is_completed_by_the_next_command(
    registry: Path, function: str
) -> None:
    process = promote(registry, "1", "--unjudged", "first")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    module, _, name = function.rpartition(".")
    killed = run_killed_at(registry, module, name, "2")
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    client = mlflow_server.connect()
    assert [entry.state for entry in ledger.read_entries(client, NAME)] == ["done", "intent"]

    history = print_history(registry)
    assert "(intent)" not in history
    entries = ledger.read_entries(client, NAME)
    assert_ledger_is_consistent(entries)
    assert [entry.champion for entry in entries] == [1, 2]


def run_killed_at(
    folder: Path, owner: str, name: str, version: str
) -> subprocess.CompletedProcess[str]:
    """Run the command; it kills itself with SIGKILL when it first calls a function."""
    script = f"""
import os, pkgutil, signal, sys
from flows.errors import run_flow_command
from flows.promote import main
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
setattr(pkgutil.resolve_name({owner!r}), {name!r}, die)
sys.argv = ["promote", {version!r}, "--unjudged", "killed"]
run_flow_command(main)
"""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def print_history(folder: Path) -> str:
    """The output of ``flows.history``, which first completes an open intent."""
    return subprocess.run(
        [sys.executable, "-m", "flows.history"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def wait_for_lock(path: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until the promotion holds the registry's lock, under which it writes."""
    while process.poll() is None:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        time.sleep(0.01)
