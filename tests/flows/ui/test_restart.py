"""After a restart, Prefect's server handles an event without waiting for what came before."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from prefect._internal.uuid7 import uuid7
from prefect.server.events.ordering import EventArrivedEarly
from prefect.server.events.schemas.events import ReceivedEvent

from flows.ui import restart


def id_made(seconds_ago: float) -> UUID:
    """An id as that of a state that was set so long ago."""
    return uuid7(ms=int((time.time() - seconds_ago) * 1000))


def wait_for(leader: UUID | None) -> None:
    """Raises ``EventArrivedEarly`` if an event that follows this one would have to wait."""
    now = datetime.now(UTC)
    event = ReceivedEvent.model_validate(
        {
            "event": "prefect.flow-run.Crashed",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
            "id": uuid7(),
            "follows": leader,
            "occurred": now,
            "received": now,
        }
    )
    asyncio.run(restart.CausalOrdering(scope=f"test {uuid4()}").wait_for_leader(event))


def test_an_event_from_before_the_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "STARTED_S", time.time() - 10)
    wait_for(id_made(seconds_ago=11))
    wait_for(None)
    with pytest.raises(EventArrivedEarly):
        wait_for(id_made(seconds_ago=9))
    with pytest.raises(EventArrivedEarly):
        wait_for(uuid4())  # says nothing about its time
