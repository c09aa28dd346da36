"""MLflow's database is created completely or not at all, despite kills, failures and races."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.embedded_database import ensure_database, sqlite_path

CONNECT = """
from pipeline_steps.tracking import mlflow_server
print(mlflow_server.connect().create_experiment("mine").isdecimal())
"""


@pytest.fixture
def _new_databases_are_copies() -> None:
    """Not here: these tests create them."""


@pytest.fixture
def database(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(in_folder))
    found = sqlite_path(mlflow_server.tracking_uri())
    assert found is not None
    return found


def start(folder: Path, code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
    )


def test_after_a_kill_during_its_creation_the_next_process_creates_it(database: Path) -> None:
    process = start(database.parent, CONNECT)
    while not any(p.stat().st_size > 20_000 for p in database.parent.glob(".mlflow.*.part.db")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not database.exists()
    mlflow_server.connect().create_experiment("after")
    assert sorted(path.name for path in database.parent.iterdir()) == [
        database.name,
        f"{database.name}.lock",
    ]


def test_a_failure_leaves_no_database(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    def fail(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow, "MlflowClient", fail)
    with pytest.raises(OSError, match="No space"):
        ensure_database(database)
    assert [path.name for path in database.parent.iterdir()] == [f"{database.name}.lock"]


def test_two_concurrent_processes_create_one_database(database: Path) -> None:
    code = CONNECT.replace('"mine"', '__import__("os").urandom(4).hex()')
    processes = [start(database.parent, code) for _ in range(2)]
    for process in processes:
        printed, errors = process.communicate(timeout=120)
        assert printed == "True\n", errors
    names = {experiment.name for experiment in mlflow_server.connect().search_experiments()}
    assert len(names - {"Default"}) == 2


@pytest.mark.parametrize("kind", ["incomplete", "not SQLite"])
def test_an_unusable_database_is_reported(database: Path, kind: str) -> None:
    if kind == "incomplete":  # as interrupted migrations of MLflow leave it
        with sqlite3.connect(database) as connection:
            connection.execute("create table experiments (experiment_id integer)")
            connection.execute("create table _alembic_tmp_experiments (experiment_id integer)")
    else:
        database.write_text("hello, this is no database, and long enough to be read as one" * 40)
    before = database.read_bytes()
    with pytest.raises(TrackingError, match=r"can't use the database .*move it away") as refused:
        mlflow_server.connect()
    assert "\n" not in str(refused.value)
    if kind == "not SQLite":
        assert database.read_bytes() == before
