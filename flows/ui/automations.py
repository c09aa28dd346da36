"""Sets up the Prefect server to mark dead flow runs as crashed and to report failed ones.

``python -m flows.ui.automations`` (options: ``--help``) sets up automations of the server, and may
be run again at any time:

- A flow run whose heartbeats stop is marked as Crashed, since a process killed together with its
  worker can't report it: its run would stay Running, and block its deployment, for ever.
- So is a retrain, promote, rollback or watch that stays Pending: its process never started.
- With ``--notify``, one of these that failed or crashed, or was cancelled since another run held
  the deployment's slot, is reported through a notification block of the server, such as
  ``slack-webhook/team`` or ``custom-webhook/ops``.

Heartbeats come from the process of the flow, every ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY`` seconds:
180 unless set, 30 at the least. A run whose heartbeats come less often than ``--silence`` allows
would be marked while it lives, so every flow run of the server needs that variable.
"""

import argparse
from datetime import timedelta

from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    CompoundTrigger,
    EventTrigger,
    Posture,
    ResourceSpecification,
    SendNotification,
)
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.errors import ServerError
from flows.ui.prefect_client import connected
from pipeline_steps.base.errors import run_main

Labels = dict[str, str | list[str]]

CRASH_AUTOMATION = "colorizer: mark silent flow runs as crashed"
START_AUTOMATION = "colorizer: mark flow runs that never start as crashed"
FAILURE_AUTOMATION = "colorizer: tell of failed flow runs"  # the key on servers set up before
WATCHED_FLOWS = ("retrain", "promote", "rollback", "watch")
NAMED: Labels = {"prefect.resource.role": "flow", "prefect.resource.name": list(WATCHED_FLOWS)}
SHORTEST_START_S = 30
SHORTEST_HEARTBEAT_S = 30  # Prefect accepts no smaller PREFECT_FLOWS_HEARTBEAT_FREQUENCY
LIMIT_REACHED = "Deployment concurrency"
"""How Prefect's messages begin that say that a deployment's limit cancelled a run."""
# Paused and Suspended runs send no heartbeats either, and aren't dead
SIGNS_OF_LIFE = (
    "heartbeat",
    "Completed",
    "Failed",
    "TimedOut",
    "Cancelled",
    "Crashed",
    "Paused",
    "Suspended",
    # names of completed states that our own flows return
    "Unchanged",
    "Triggered",
    "Promoted",
    "Refused",
    "Rolled back",
)
# Submitting and InfrastructurePending are names of Pending states
SIGNS_OF_START = (
    "Running",
    "Failed",
    "Cancelled",
    "Cancelling",
    "Crashed",
    "Scheduled",
    "AwaitingConcurrencySlot",
)
REASON = (
    "{{ event.resource['prefect.state-message'] | default('no reason given', true)"
    " | replace('\\n', ' ') | truncate(500) }}"
)


def ensure_crash_detection(silence_s: int = 90) -> None:
    """Have the server mark a flow run as Crashed once it was silent for ``silence_s`` seconds."""
    if silence_s <= SHORTEST_HEARTBEAT_S:
        raise ServerError(
            f"--silence must be > {SHORTEST_HEARTBEAT_S}, the seconds between heartbeats at the "
            f"least, got {silence_s}"
        )
    message = f"No heartbeat for {silence_s} s: the process or its machine is gone."
    ensure_marking(CRASH_AUTOMATION, silence_trigger(silence_s), message)


def ensure_start_detection(start_s: int = 600) -> None:
    """Have the server mark a run of our flows as Crashed once it was Pending for ``start_s`` s."""
    if start_s < SHORTEST_START_S:
        raise ServerError(f"--start must be ≥ {SHORTEST_START_S}, got {start_s}")
    message = f"Pending for {start_s} s: its process never started, or was killed before."
    ensure_marking(START_AUTOMATION, start_trigger(start_s), message)


def ensure_marking(name: str, trigger: EventTrigger, message: str) -> None:
    """Set up an automation that marks the runs of a trigger as Crashed."""
    action = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message=message, force=False
    )
    automation = AutomationCore(
        name=name,
        description="Set up by python -m flows.ui.automations.",
        trigger=trigger,
        actions=[action],
    )
    with connected() as client:
        ensure(client, automation)


def silence_trigger(silence_s: int) -> EventTrigger:
    """Fire for each flow run that was Running and sent nothing for so long."""
    return EventTrigger(
        # a run may be killed before its first heartbeat
        after={"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{name}" for name in SIGNS_OF_LIFE},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=silence_s),
    )


def start_trigger(start_s: int) -> EventTrigger:
    """Fire for each run of our flows that was Pending for so long."""
    return EventTrigger(
        after={"prefect.flow-run.Pending"},
        expect={f"prefect.flow-run.{name}" for name in SIGNS_OF_START},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(NAMED),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=start_s),
    )


def ensure_failure_notification(block: str) -> None:
    """Have the server report failed runs of our flows through the block ``type/name``."""
    type_slug, _, name = block.partition("/")
    if not type_slug or not name:
        raise ServerError(f"--notify must be TYPE/NAME, such as slack-webhook/team, got {block!r}")
    with connected() as client:
        try:
            document = client.read_block_document_by_name(name, type_slug)
        except ObjectNotFound as error:
            raise ServerError(
                f"the Prefect server has no block {block}: `prefect block ls` lists what it has"
            ) from error
        schema = document.block_schema
        if schema is None or "notify" not in schema.capabilities:
            raise ServerError(f"the block {block} can't notify: name a notification block")
        ensure(
            client,
            AutomationCore(
                name=FAILURE_AUTOMATION,
                description="Set up by python -m flows.ui.automations --notify.",
                trigger=failure_trigger(),
                actions=[
                    SendNotification(
                        block_document_id=document.id,
                        subject="{{ flow.name }}: {{ event.resource['prefect.state-name'] }}",
                        body="Flow {{ flow.name }}, run {{ flow_run.name }}: "
                        "{{ event.resource['prefect.state-name'] }}\n"
                        f"Reason: {REASON}\n"
                        "{{ flow_run | ui_url }}",
                    )
                ],
            ),
        )


def failure_trigger() -> CompoundTrigger:
    """Fire once for each run of our flows that failed, crashed, or was cancelled by a limit.

    They are found by name or tag.
    """
    tagged: Labels = {
        "prefect.resource.role": "tag",
        "prefect.resource.id": [f"prefect.tag.{flow}" for flow in WATCHED_FLOWS],
    }
    # a run both named and tagged would be reported twice; in one list of names `!` is any-not
    not_named: list[Labels] = [
        {"prefect.resource.role": "flow", "prefect.resource.name": f"!{flow}"}
        for flow in WATCHED_FLOWS
    ]

    # by type: states of other names, such as TimedOut, are of type FAILED as well
    failed: Labels = {"prefect.state-type": [StateType.FAILED.value, StateType.CRASHED.value]}
    # one that a person cancelled has another message
    limited: Labels = {
        "prefect.state-type": StateType.CANCELLED.value,
        "prefect.state-message": f"{LIMIT_REACHED}*",
    }

    def ended(state: Labels, *related: Labels) -> EventTrigger:
        return EventTrigger(
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", **state}),
            match_related=[ResourceSpecification(labels) for labels in related],
            posture=Posture.Reactive,
            threshold=1,
        )

    return CompoundTrigger(
        require="any",
        triggers=[
            ended(state, *related)
            for state in (failed, limited)
            for related in ((NAMED,), (tagged, *not_named))
        ],
        within=timedelta(seconds=0),
    )


def ensure(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create the automation, or update the one of that name; delete duplicates."""
    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
        print(f"created the automation {wanted.name!r}")
        return
    # an update sends only what was set, so the defaults are set as well; it accepts no owner
    fields = set(AutomationCore.model_fields) - {"owner_resource"}
    complete, first = wanted.model_dump(include=fields), existing[0].model_dump(include=fields)
    # an update drops the runs that the trigger is watching, so update only on a change
    if first == complete:
        print(f"kept the automation {wanted.name!r} as it is")
    else:
        client.update_automation(existing[0].id, AutomationCore.model_validate(complete))
        print(f"updated the automation {wanted.name!r}")
    for double in existing[1:]:
        client.delete_automation(double.id)


def main() -> None:
    """Set up what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.ui.automations",
        description="Have the Prefect server mark dead flow runs and report failed ones.",
    )
    parser.add_argument(
        "--notify", metavar="TYPE/NAME", help="notification block that failed runs are sent to"
    )
    parser.add_argument(
        "--silence",
        metavar="SECONDS",
        type=int,
        default=90,
        help="mark a flow run as crashed after so long without a heartbeat (default: 90)",
    )
    parser.add_argument(
        "--start",
        metavar="SECONDS",
        type=int,
        default=600,
        help="mark a run that is Pending for so long as crashed (default: 600); more for a pool"
        " whose runs wait for a machine or an image",
    )
    arguments = parser.parse_args()
    ensure_crash_detection(arguments.silence)
    ensure_start_detection(arguments.start)
    if arguments.notify is not None:
        ensure_failure_notification(arguments.notify)


if __name__ == "__main__":
    run_main(main)
