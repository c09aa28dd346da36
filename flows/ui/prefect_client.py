"""A client of the Prefect server in use, whose errors are one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flows.errors import ServerError
from flows.ui.prefect_secrets import add_prefect_secrets


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server in use; raises :class:`ServerError` if it can't be used."""
    add_prefect_secrets()
    url = get_current_settings().api.url
    if not url:
        # without an address the client would start a server of its own, gone a moment later
        raise ServerError(
            "no Prefect server is named: set PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise ServerError(
            f"no Prefect server answers at {url}: start it, or correct PREFECT_API_URL"
        ) from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ServerError(
                f"the Prefect server at {url} rejected the request ({status}): set "
                "PREFECT_API_AUTH_STRING to its user:password"
            ) from error
        hint = "does PREFECT_API_URL end in /api?" if status in (404, 405) else "see its log"
        raise ServerError(
            f"the Prefect server at {url} answers {status} to "
            f"{error.request.method} {error.request.url.path}: {hint}"
        ) from error
