"""One writer at a time in the model registry: MLflow has no compare-and-set.

On one machine a file lock does it, which the kernel gives back when its holder dies. An SQLite
registry needs no more. Writers on several machines meet in the registry itself: names of registered
models are unique, so whoever makes the model ``<name>.lock`` holds the lock. Its holder tells a
beat; a lock whose beat stands still is taken over by renaming it, which only one can do.
"""

import fcntl
import hashlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking.embedded_database import lock_path, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

STALE_AFTER_S = 60.0
_POLL_S = 0.25
_DESCRIPTION = "Held while versions are registered, promoted or rolled back; goes by itself."


class LockSeen(NamedTuple):
    """A lock in the registry as a waiter reads it."""

    machine: str
    token: str
    beat: str


@contextmanager
def registry_lock(
    client: "MlflowClient",
    name: str,
    *,
    timeout_s: float = 600.0,
    stale_after_s: float = STALE_AFTER_S,
) -> Iterator[None]:
    """Hold the right to change the registered model ``name``, its versions and its aliases.

    Raises :class:`TrackingError` if it isn't had within ``timeout_s``. Not re-entrant.
    """
    deadline_s = time.monotonic() + timeout_s
    uri = client._registry_uri or client.tracking_uri
    database = sqlite_path(uri)
    with _machine_lock(_lock_file(database, uri), deadline_s) as machine:
        if database:
            yield
        else:
            with _server_lock(client, name, machine, deadline_s, stale_after_s):
                yield


def _lock_file(database: Path | None, uri: str) -> Path:
    if database:
        return lock_path(database)
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"colorizer-{os.getuid()}-{digest}.lock"


@contextmanager
def _machine_lock(path: Path, deadline_s: float) -> Iterator[str]:
    """Hold a file's lock; yield what all who share the file are known by in the registry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(deadline_s, f"{path} is held by another process")
        file.seek(0)
        machine = file.read().strip()
        if not machine:
            machine = uuid.uuid4().hex
            file.write(machine)
            file.flush()
        yield machine


@contextmanager
def _server_lock(
    client: "MlflowClient", name: str, machine: str, deadline_s: float, stale_after_s: float
) -> Iterator[None]:
    lock_name, token = f"{name}.lock", uuid.uuid4().hex
    _acquire(client, lock_name, machine, token, deadline_s, stale_after_s)
    released = threading.Event()
    beating = threading.Thread(
        target=_beat, args=(client, lock_name, stale_after_s / 6, released), daemon=True
    )
    beating.start()
    try:
        yield
    finally:
        released.set()
        beating.join()
        seen = _read_lock(client, lock_name)
        if seen and seen.token == token:
            client.delete_registered_model(lock_name)


def _acquire(
    client: "MlflowClient",
    lock_name: str,
    machine: str,
    token: str,
    deadline_s: float,
    stale_after_s: float,
) -> None:
    last_seen, since_s = None, time.monotonic()
    while not _create_lock(client, lock_name, machine, token):
        seen = _read_lock(client, lock_name)
        if seen != last_seen:
            last_seen, since_s = seen, time.monotonic()
        # of this machine we hold the file's lock, so whoever held this one is dead
        dead = seen is not None and seen.machine == machine
        if seen and (dead or time.monotonic() - since_s > stale_after_s):
            _put_aside(client, lock_name, seen)
        else:
            _wait(deadline_s, f"the registry's {lock_name} is held by another machine")


def _create_lock(client: "MlflowClient", lock_name: str, machine: str, token: str) -> bool:
    from mlflow.exceptions import MlflowException

    tags = {"machine": machine, "token": token, "beat": "0"}
    try:
        client.create_registered_model(lock_name, tags=tags, description=_DESCRIPTION)
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return False
        raise
    return True


def _read_lock(client: "MlflowClient", lock_name: str) -> LockSeen | None:
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_registered_model(lock_name).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return LockSeen(tags.get("machine", ""), tags.get("token", ""), tags.get("beat", ""))


def _put_aside(client: "MlflowClient", lock_name: str, seen: LockSeen) -> None:
    """Rename a dead lock. The new name holds its token, so that of several waiters one succeeds."""
    from mlflow.exceptions import MlflowException

    aside = f"{lock_name}.{seen.token}"
    try:
        client.rename_registered_model(lock_name, aside)
    except MlflowException:
        # whoever is late is told so in several ways, depending on how late
        if _read_lock(client, lock_name) == seen:
            raise
        return
    client.set_registered_model_tag(aside, "beat", "taken over")


def _beat(
    client: "MlflowClient", lock_name: str, interval_s: float, released: threading.Event
) -> None:
    from mlflow.exceptions import MlflowException

    beat = 0
    while not released.wait(interval_s):
        beat += 1
        try:
            client.set_registered_model_tag(lock_name, "beat", str(beat))
        except MlflowException:
            continue  # the server is away for a moment; the next beat may arrive


def _wait(deadline_s: float, reason: str) -> None:
    if time.monotonic() > deadline_s:
        raise TrackingError(f"{reason}: waited long enough; run the same command again later")
    time.sleep(_POLL_S)
