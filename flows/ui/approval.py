"""A person decides: the flow run pauses until someone answers in the Prefect UI."""

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.promotion.champion import Confirmation
from flows.promotion.judgement import Judgement
from flows.ui.artifacts import show_report
from flows.ui.flow_run import who_runs

TIMEOUT_S = 3 * 24 * 3600
POLL_S = 5


class Approval(RunInput):
    """What the UI asks for."""

    approve: bool = Field(default=False, description="Make the challenger the champion?")
    name: str = Field(default="", description="Who decides; goes into the ledger.")
    reason: str = Field(default="", description="Why; goes into the ledger.")


def show_and_confirm(judgement: Judgement, *, ask: bool) -> Confirmation:
    """Show the report in the Prefect UI; ``ask`` a person about what the rule would promote."""
    show_report(judgement.report)
    if not (ask and judgement.decision.promote):
        return Confirmation(who_runs())
    answer = ask_person(judgement.report)
    by = f"{answer.name or 'someone in the UI'}, {who_runs()}"
    if answer.approve:
        return Confirmation(by)
    return Confirmation(by, veto=f"not approved: {answer.reason or 'no reason given'}")


def ask_person(report: str) -> Approval:
    """Show the comparison and wait for an answer; none within ``TIMEOUT_S`` is a no.

    Prefect marks a run whose pause timed out as failed, whatever it does afterwards.
    """
    question = Approval.with_initial_data(description=report)
    try:
        return pause_flow_run(wait_for_input=question, timeout=TIMEOUT_S, poll_interval=POLL_S)
    except FlowPauseTimeout:
        return Approval(approve=False, name="nobody", reason=f"no answer within {TIMEOUT_S} s")
