"""A person decides: the flow run pauses until someone answers in the Prefect UI."""

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

TIMEOUT_S = 3 * 24 * 3600
POLL_S = 5
NO_ANSWER = "nobody answered"


class Approval(RunInput):
    """What the UI asks for."""

    approve: bool = Field(default=False, description="Make the challenger the champion?")
    name: str = Field(default="", description="Who decides; goes into the ledger.")
    reason: str = Field(default="", description="Why; goes into the ledger.")


def ask_person(report: str) -> Approval:
    """Show the comparison and wait for an answer; none in ``TIMEOUT_S`` is a no.

    Prefect ends a run that nobody answered as failed, whatever it does after.
    """
    question = Approval.with_initial_data(description=report)
    try:
        return pause_flow_run(wait_for_input=question, timeout=TIMEOUT_S, poll_interval=POLL_S)
    except FlowPauseTimeout:
        return Approval(approve=False, name="nobody", reason=f"{NO_ANSWER} in {TIMEOUT_S} s")
