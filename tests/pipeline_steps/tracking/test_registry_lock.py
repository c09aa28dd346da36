"""One writer at a time: by the file's lock, and by the registry's own unique names."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking import registry_lock as module
from pipeline_steps.tracking.registry_lock import registry_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "model"


@pytest.fixture
def client(in_folder: Path) -> "MlflowClient":
    return mlflow_server.connect()


@pytest.fixture
def as_on_two_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every thread has a lock file of its own, so only the registry keeps them apart."""
    monkeypatch.setattr(module, "sqlite_path", lambda uri: None)
    monkeypatch.setattr(
        module, "_lock_file", lambda database, uri: tmp_path / f"{threading.get_ident()}.lock"
    )


def hold_in_turn(client: "MlflowClient", holders: int) -> int:
    """Let threads hold the lock; return the most that ever held it at once."""
    inside, most = 0, 0
    errors: list[BaseException] = []

    def work() -> None:
        nonlocal inside, most
        try:
            with registry_lock(client, NAME, timeout_s=60):
                inside += 1
                most = max(most, inside)
                time.sleep(0.05)
                inside -= 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(holders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return most


def test_threads_of_one_machine_take_turns(client: "MlflowClient") -> None:
    assert hold_in_turn(client, 8) == 1


@pytest.mark.usefixtures("as_on_two_machines")
def test_machines_take_turns_and_leave_nothing(client: "MlflowClient") -> None:
    assert hold_in_turn(client, 4) == 1
    assert client.search_registered_models() == []


@pytest.mark.usefixtures("as_on_two_machines")
def test_a_dead_machines_lock_is_taken_over(client: "MlflowClient") -> None:
    client.create_registered_model(f"{NAME}.lock", tags={"machine": "m", "token": "t", "beat": "7"})
    with registry_lock(client, NAME, timeout_s=30, stale_after_s=0.5):
        assert client.get_registered_model(f"{NAME}.lock").tags["token"] != "t"


@pytest.mark.usefixtures("as_on_two_machines")
def test_a_lock_that_beats_is_waited_for(client: "MlflowClient") -> None:
    client.create_registered_model(f"{NAME}.lock", tags={"machine": "m", "token": "t"})
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(0.1):
            count += 1
            client.set_registered_model_tag(f"{NAME}.lock", "beat", str(count))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with (
            pytest.raises(TrackingError, match="held by another machine"),
            registry_lock(client, NAME, timeout_s=3, stale_after_s=1.5),
        ):
            pass
    finally:
        stop.set()
        beating.join()


@pytest.mark.usefixtures("as_on_two_machines")
def test_of_several_who_find_it_dead_one_has_it(client: "MlflowClient") -> None:
    client.create_registered_model(f"{NAME}.lock", tags={"machine": "m", "token": "t"})
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with registry_lock(client, NAME, timeout_s=60, stale_after_s=1.0):
            inside += 1
            most = max(most, inside)
            time.sleep(0.2)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lock_of_a_killed_holder_on_this_machine_is_free_at_once(
    client: "MlflowClient", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "sqlite_path", lambda uri: None)
    monkeypatch.setattr(module, "_lock_file", lambda database, uri: tmp_path / "machine.lock")
    (tmp_path / "machine.lock").write_text("this-machine")
    tags = {"machine": "this-machine", "token": "t"}
    client.create_registered_model(f"{NAME}.lock", tags=tags)
    with registry_lock(client, NAME, timeout_s=10, stale_after_s=3600):
        pass
