"""The file lock of a registry among the processes of one machine."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.machine_lock import machine_lock, machine_lock_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings("default")
HOLD_UNTIL_KILLED = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def client(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return mlflow_server.connect()


def test_threads_exclude_each_other(client: "MlflowClient") -> None:
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with machine_lock(client):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(TrackingError, match=r"mlflow\.db\.lock"),
            machine_lock(client, timeout_s=0),
        ):
            pass
    finally:
        release.set()
        holder.join()
    with machine_lock(client, timeout_s=0):
        pass


def test_the_lock_of_a_killed_process_is_released(client: "MlflowClient") -> None:
    path = machine_lock_path(client.tracking_uri)
    command = [sys.executable, "-c", HOLD_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(TrackingError), machine_lock(client, timeout_s=0):
                pass
        finally:
            holder.kill()
    with machine_lock(client, timeout_s=30):
        pass


def test_the_lock_is_released_on_an_exception(client: "MlflowClient") -> None:
    with pytest.raises(ZeroDivisionError), machine_lock(client):
        raise ZeroDivisionError
    with machine_lock(client, timeout_s=0):
        pass


def test_the_lock_file_does_not_depend_on_the_credentials(tmp_path: Path) -> None:
    plain = machine_lock_path("http://host:5000")
    assert machine_lock_path("http://name:word@host:5000/") == plain
    assert machine_lock_path("http://other:5000") != plain
    database = tmp_path / "mlflow.db"
    assert machine_lock_path(f"sqlite:///{database}") == tmp_path / "mlflow.db.lock"
