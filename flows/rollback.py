"""``python -m flows.rollback [--to VERSION]``: return to the champion before, or an earlier one.

What was champion becomes ``previous``: a second rollback undoes the first. A version that never was
champion needs ``--force``. The version's files are checked before the alias moves, and an entry of
the ledger is written.
"""

import argparse
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.errors import run_flow_command
from flows.promotion.champion import set_champion, who
from flows.promotion.report import summarize_decision
from flows.promotion.versions import PREVIOUS
from flows.ui.flow_run import failed_state_on_error, flow_run_url, who_runs
from flows.ui.registry_lease import connect_registry
from pipeline_steps.params import read_params

NO_REASON = "rolled back by hand"


@flow(name="rollback", flow_run_name="rollback to {to}", validate_parameters=True)
@failed_state_on_error
def rollback(to: str | int = PREVIOUS, reason: str = NO_REASON, force: bool = False) -> State[Any]:
    """Make an earlier version (a number or an alias) the champion again.

    ``force`` allows one that never was champion.
    """
    registry = connect_registry(read_params().tracking.registered_model)
    entry = set_champion(
        registry,
        to,
        force=force,
        action="rolled back",
        reason=reason,
        by=who_runs(),
        flow_run=flow_run_url(),
    )
    return Completed(message=summarize_decision(registry.name, entry))


def main() -> None:
    """Roll back, without Prefect."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.rollback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--to", default=PREVIOUS, metavar="VERSION", help="number or alias (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="even if it never was champion")
    parser.add_argument("--reason", default=NO_REASON, help="goes into the ledger")
    arguments = parser.parse_args()
    registry = connect_registry(read_params().tracking.registered_model)
    entry = set_champion(
        registry,
        arguments.to,
        force=arguments.force,
        action="rolled back",
        reason=arguments.reason,
        by=who(),
    )
    print(summarize_decision(registry.name, entry))


if __name__ == "__main__":
    run_flow_command(main)
