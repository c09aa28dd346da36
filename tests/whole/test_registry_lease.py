"""Machines that share a registry exclude each other by a lease of a real Prefect server."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.promotion import ledger
from flows.promotion.versions import find_aliases
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry
from tests.whole.prefect_stack import PrefectServer, prefect_server
from tests.whole.test_promotion import assert_ledger_is_consistent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
NAME = "sketch-colorizer"
Promote = Callable[..., "subprocess.Popen[str]"]
LEASE_S = 60
"""Prefect's minimum."""
DRIVER = f"""
import contextlib, os, signal, sys, time
from flows.errors import run_flow_command
from flows.promotion import champion, ledger, registry_lock
from flows.promotion.champion import set_champion
from flows.ui import registry_lease

# simulate two machines: without the file lock, only the lease excludes the other process
registry_lock.is_shared = lambda uri: True
registry_lock.machine_lock = lambda client, timeout_s: contextlib.nullcontext()
registry_lease.LEASE_S = {LEASE_S}

class PrintingTime:
    monotonic = time.monotonic
    def sleep(seconds):
        print("waits", flush=True)
        time.sleep(seconds)

registry_lease.time = PrintingTime
version, by, *stops = sys.argv[1:]
if stops:
    append = ledger.append_intent
    def append_and_stop(*args):
        entry = append(*args)
        os.kill(os.getpid(), signal.SIGSTOP)
        return entry
    ledger.append_intent = append_and_stop
def main():
    registry = registry_lease.connect_registry("{NAME}")
    set_champion(registry, version, action="promoted", reason="test", by=by)
run_flow_command(main)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def registry(in_folder: Path) -> Path:
    return make_registry(in_folder, NAME)


@pytest.fixture
def promote(registry: Path) -> Iterator[Promote]:
    """Start a promotion by a machine: environment, version, who, and "stops" to stop it."""
    processes: list[subprocess.Popen[str]] = []

    def promote(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
        # an earlier test's MLflow may have set its address
        kept = {key: value for key, value in environment.items() if not key.startswith("MLFLOW_")}
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *arguments],
            cwd=registry,
            env=kept | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield promote
    for process in processes:
        process.kill()
        process.communicate()


def test_a_holder_whose_lease_has_expired_is_replaced_and_writes_nothing(
    promote: Promote, server: PrefectServer
) -> None:
    stopped = promote(server.environment, "1", "asleep", "stops")
    _, status = os.waitpid(stopped.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    client = mlflow_server.connect()
    (intent,) = ledger.read_entries(client, NAME)
    assert (intent.by, intent.state) == ("asleep", "intent")

    waiting = promote(server.environment, "2", "awake")
    output = waiting.communicate(timeout=300)[0]
    assert waiting.returncode == 0, output
    # it was refused while the lease was held, and got its own although nobody released that one
    assert set(output.splitlines()) == {"waits"}

    stopped.send_signal(signal.SIGCONT)
    output = stopped.communicate(timeout=60)[0]
    assert stopped.returncode == 1
    (line,) = output.strip().splitlines()
    assert line.startswith("error: ")
    assert "python -m flows.history" in line
    entries = ledger.read_entries(client, NAME)
    assert [(e.by, e.state, e.champion) for e in entries] == [
        ("asleep", "done", 1),  # completed by the other process, which then made its own
        ("awake", "done", 2),
    ]
    assert find_aliases(client, NAME) == {"champion": 2, "previous": 1}


def test_concurrent_promotions_of_several_machines_are_serialized(
    promote: Promote, server: PrefectServer
) -> None:
    processes = [promote(server.environment, str(1 + i % 2), f"m{i}") for i in range(3)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    entries = ledger.read_entries(mlflow_server.connect(), NAME)
    assert len(entries) == 3
    assert_ledger_is_consistent(entries)


def test_without_a_prefect_server_a_shared_registry_is_refused(
    promote: Promote, server: PrefectServer
) -> None:
    bare = {k: v for k, v in server.environment.items() if k != "PREFECT_API_URL"}
    refused = promote(bare, "1", "nobody")
    output = refused.communicate(timeout=120)[0]
    assert refused.returncode == 1
    (line,) = output.strip().splitlines()
    assert line.startswith("error: several machines may write to the registry at ")
    assert "set PREFECT_API_URL" in line
    assert ledger.read_entries(mlflow_server.connect(), NAME) == []
