"""Which events the server's automations, as its own code reads them, react to."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.events.schemas import automations as server
from prefect.server.events.schemas.events import ReceivedEvent

from flows.ui import automations


def event_of(flow: str, name: str, type_: str, message: str = "", tag: str = "") -> ReceivedEvent:
    """The event of a flow run's new state."""
    related = [
        {
            "prefect.resource.id": f"prefect.flow.{uuid4()}",
            "prefect.resource.role": "flow",
            "prefect.resource.name": flow,
        }
    ]
    if tag:
        role = {"prefect.resource.role": "tag"}
        related.append({"prefect.resource.id": f"prefect.tag.{tag}", **role})
    now = datetime.now(UTC)
    return ReceivedEvent.model_validate(
        {
            "event": f"prefect.flow-run.{name}",
            "resource": {
                "prefect.resource.id": f"prefect.flow-run.{uuid4()}",
                "prefect.state-name": name,
                "prefect.state-type": type_,
                "prefect.state-message": message,
            },
            "related": related,
            "id": uuid4(),
            "occurred": now,
            "received": now,
        }
    )


def times_reported(event: ReceivedEvent) -> int:
    """How many of the notification's triggers fire."""
    triggers: list[Any] = automations.failure_trigger().triggers
    as_server = [server.EventTrigger.model_validate(each.model_dump()) for each in triggers]
    return sum(each.expects(event.event) and each.covers(event) for each in as_server)


@pytest.mark.parametrize(
    ("name", "type_", "message", "times"),
    [
        ("Failed", "FAILED", "the data is gone", 1),
        ("TimedOut", "FAILED", "", 1),
        ("Crashed", "CRASHED", "No heartbeat for 90 s", 1),
        ("Cancelled", "CANCELLED", "Deployment concurrency limit reached.", 1),
        ("Cancelled", "CANCELLED", "Deployment concurrency slot lost during provisioning", 1),
        ("Cancelled", "CANCELLED", "by Ann", 0),
        ("Cancelled", "CANCELLED", "", 0),
        ("Completed", "COMPLETED", "Deployment concurrency", 0),
    ],
)
@pytest.mark.parametrize(
    ("flow", "tag", "is_ours"),
    [("retrain", "", True), ("retrain", "watch", True), ("x", "watch", True), ("x", "", False)],
)
def test_an_end_that_nobody_asked_for_is_reported_once(
    name: str, type_: str, message: str, times: int, flow: str, tag: str, is_ours: bool
) -> None:
    event = event_of(flow, name, type_, message, tag)
    assert times_reported(event) == (times if is_ours else 0)


def test_a_run_that_leaves_pending_has_started_and_one_that_is_submitted_has_not() -> None:
    trigger = server.EventTrigger.model_validate(automations.start_trigger(600).model_dump())
    pending = event_of("retrain", "Pending", "PENDING")
    assert trigger.starts_after(pending.event)
    assert trigger.covers(pending)
    assert not trigger.covers(event_of("another", "Pending", "PENDING"))
    for name in ("Pending", "Submitting", "InfrastructurePending", "heartbeat"):
        assert not trigger.expects(f"prefect.flow-run.{name}")
    for name in ("Running", "Cancelled", "Crashed", "AwaitingConcurrencySlot", "Scheduled"):
        assert trigger.expects(f"prefect.flow-run.{name}")


def test_a_run_is_watched_from_its_start_on_not_from_its_first_heartbeat() -> None:
    trigger = server.EventTrigger.model_validate(automations.silence_trigger(90).model_dump())
    assert trigger.starts_after("prefect.flow-run.Running")
    assert not trigger.expects("prefect.flow-run.Running")
    for name in ("heartbeat", "Completed", "Paused", "Promoted"):
        assert trigger.expects(f"prefect.flow-run.{name}")
