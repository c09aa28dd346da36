"""The registered model, and Prefect's concurrency limit that lets one machine write at a time."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from flows.errors import PromotionError, ServerError
from flows.promotion.registry_lock import Lease, Registry
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LEASE_S = 180.0
"""A dead holder blocks the others for so long. Whatever is done between two writes, such as
fetching a version's files, must take less. Prefect accepts no less than 60 s."""
POLL_S = 1.0


def connect_registry(name: str) -> Registry:
    """Connect to the MLflow server in use; Prefect is asked only if others write there, too."""
    return Registry(mlflow_server.connect(), name, hold_lease)


@contextmanager
def hold_lease(name: str, timeout_s: float) -> Iterator[Lease]:
    """Hold the one slot of the concurrency limit ``<name> registry``; it's made if missing.

    Raises :class:`ServerError` if there is no Prefect server that responds, and
    :class:`PromotionError` if the slot isn't free within ``timeout_s``.
    """
    # Prefect takes seconds to import, and most registries need no lease
    from prefect.settings import get_current_settings

    from flows.ui.prefect_client import connected

    if not get_current_settings().api.url:
        raise ServerError(
            f"several machines may write to the registry at {mlflow_server.tracking_uri()}: set"
            " PREFECT_API_URL to the Prefect server that they share, so that they take turns"
        )
    limit = f"{name} registry"
    with connected() as client:
        lease = PrefectLease(client, limit, _acquire(client, limit, timeout_s))
        try:
            yield lease
        finally:
            lease.release()


class PrefectLease:
    """A slot of a concurrency limit of Prefect's, with an expiry."""

    def __init__(self, client: "SyncPrefectClient", limit: str, lease_id: UUID) -> None:
        self.client = client
        self.limit = limit
        self.lease_id = lease_id

    def require_held(self) -> None:
        """Renew the lease; raises :class:`PromotionError` if it has expired."""
        from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

        try:
            self.client.renew_concurrency_lease(lease_id=self.lease_id, lease_duration=LEASE_S)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code != 410:
                raise
            raise PromotionError(
                f"the lease of {self.limit!r} expired, so nothing more was changed: another"
                " process may have completed this decision; see `python -m flows.history`, then"
                " run the same command again if need be"
            ) from None

    def release(self) -> None:
        """Give the slot back; if Prefect doesn't respond, the lease expires."""
        import httpx

        with contextlib.suppress(httpx.HTTPError):
            self.client.release_concurrency_slots_with_lease(lease_id=self.lease_id)


def _acquire(client: "SyncPrefectClient", limit: str, timeout_s: float) -> UUID:
    from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError

    with contextlib.suppress(ObjectAlreadyExists):  # another process created it meanwhile
        client.upsert_global_concurrency_limit_by_name(limit, 1)
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            response = client.increment_concurrency_slots_with_lease(
                names=[limit], slots=1, mode="concurrency", lease_duration=LEASE_S
            )
            return UUID(response.json()["lease_id"])
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 423:  # 423: all slots are taken
                raise
        if time.monotonic() > deadline_s:
            raise PromotionError(
                f"another process has held {limit!r} for more than {timeout_s:g} s: run the same"
                f" command again when it has ended; if there is none, `prefect"
                f" global-concurrency-limit update '{limit}' --active-slots 0` frees it"
            )
        time.sleep(POLL_S)
