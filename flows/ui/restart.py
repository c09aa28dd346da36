"""What Prefect's server gets wrong after a restart: the order of events, and who is silent.

Imported by the server alone; see ``flows/ui/server.py``.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from prefect.server.database import provide_database_interface
from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import ReceivedEvent

from flows.ui.automations import CRASH_AUTOMATION, START_AUTOMATION

STARTED_S = time.time()
REPORT_S = 90
"""Within so long after the server's start a living run has sent a heartbeat."""
Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


class CausalOrdering(memory.CausalOrdering):
    """Prefect's own, except that no event from before the start is waited for.

    The server holds back the event of a state until that of the state before was handled, for up
    to 15 minutes. Which were handled is kept in memory: a run that was marked as crashed after a
    restart was reported 15 minutes late.
    """

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Return if the event may be handled; raises ``EventArrivedEarly`` if it must wait."""
        if event.follows is None or created_s(event.follows) >= STARTED_S:
            await super().wait_for_leader(event)


def created_s(identity: UUID) -> float:
    """When an event's id was made, in s since 1970: its first 48 bits are ms (RFC 9562, 5.7).

    Infinite for an id of another version.
    """
    return (identity.int >> 80) / 1000 if identity.version == 7 else float("inf")


def watching_anew(lifespan: Lifespan) -> Lifespan:
    """The app's ``lifespan``, after :func:`watch_anew`."""

    @asynccontextmanager
    async def wrapped(app: Any) -> AsyncIterator[Any]:
        with suppress(sa.exc.DBAPIError):  # a new database has no tables yet
            await watch_anew()
        async with lifespan(app) as state:
            yield state

    return wrapped


async def watch_anew() -> None:
    """Give every watched run ``REPORT_S`` from now on.

    A run whose time was up while the server was away would be marked as crashed though it lives;
    or, after 60 s more, be forgotten though its process is gone.
    """
    db = provide_database_interface()
    end = datetime.now(UTC) + timedelta(seconds=REPORT_S)
    names = (CRASH_AUTOMATION, START_AUTOMATION)
    ours = sa.select(db.Automation.id).where(db.Automation.name.in_(names))
    bucket = db.AutomationBucket
    async with db.session_context(begin_transaction=True) as session:
        await session.execute(
            sa.update(bucket)
            .where(bucket.automation_id.in_(ours), bucket.end < end)
            .values(end=end)
        )
