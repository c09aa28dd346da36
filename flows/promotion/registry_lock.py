"""One writer at a time changes the registered model's aliases and their ledger.

MLflow has no compare-and-set. Where all writers are on one machine, its file lock is enough: the
kernel holds it as long as its holder lives. A registry that other machines write to needs a
lease too, from a server that they share; it's passed in, since this folder knows no Prefect. A
lease expires, so its holder renews it right before each write.
"""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pipeline_steps.tracking.embedded_database import sqlite_path
from pipeline_steps.tracking.machine_lock import machine_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

TIMEOUT_S = 600.0


class Lease(Protocol):
    """The right to write, for a limited time."""

    def require_held(self) -> None:
        """Renew the lease; raises :class:`~flows.errors.PromotionError` if it has expired."""


OpenLease = Callable[[str, float], AbstractContextManager[Lease]]
"""Called with the registered model's name and a timeout in seconds."""


@dataclass(frozen=True)
class Registry:
    """A registered model, and how machines take turns in changing it."""

    client: "MlflowClient"
    name: str
    open_lease: OpenLease


class LockOfThisMachine:
    """A lease that never expires: the kernel's file lock."""

    def require_held(self) -> None:
        """Nothing to renew."""


@contextmanager
def registry_lock(registry: Registry, *, timeout_s: float = TIMEOUT_S) -> Iterator[Lease]:
    """Hold the right to move the model's aliases and to write its ledger. Not re-entrant.

    Raises :class:`~pipeline_steps.base.errors.TrackingError` or what ``open_lease`` raises, if it
    isn't free within ``timeout_s``.
    """
    with machine_lock(registry.client, timeout_s=timeout_s):
        if not is_shared(registry.client._registry_uri or registry.client.tracking_uri):
            yield LockOfThisMachine()
            return
        with registry.open_lease(registry.name, timeout_s) as lease:
            yield lease


def is_shared(registry_uri: str) -> bool:
    """Whether other machines may write: neither an SQLite file nor a server on loopback."""
    if sqlite_path(registry_uri):
        return False
    host = urlsplit(registry_uri).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
