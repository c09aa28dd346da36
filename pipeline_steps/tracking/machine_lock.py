"""One process of this machine at a time changes a registry: a file lock for each registry.

The kernel releases the lock when its holder dies. Processes on other machines don't see it.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from colorizer.base.addresses import without_credentials
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking.embedded_database import lock_path, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def machine_lock(client: "MlflowClient", *, timeout_s: float = 600.0) -> Iterator[None]:
    """Hold this machine's lock of the client's registry. Not re-entrant.

    Raises :class:`TrackingError` if another process holds it for longer than ``timeout_s``.
    """
    path = machine_lock_path(client._registry_uri or client.tracking_uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout:
        raise TrackingError(
            f"another process has held {path} for more than {timeout_s:g} s, so the registry can't"
            " be changed; run the same command again when it has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


def machine_lock_path(registry_uri: str) -> Path:
    """The lock file of a registry: next to an SQLite database, else in the temporary folder."""
    database = sqlite_path(registry_uri)
    if database:
        return lock_path(database)
    address = without_credentials(registry_uri).rstrip("/")
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"colorizer-{os.getuid()}-{digest}.lock"
