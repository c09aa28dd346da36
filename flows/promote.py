"""``python -m flows.promote [VERSION]``: make a version the champion, if it's better.

Reads  the registry, data/prepared/{test.npy,train_mean.npy}, params.yaml (``promotion``)
Writes the aliases ``champion`` and ``previous``, and an entry of the ledger

Both models are scored again on the same test pairs, by their registered ONNX files. The exit code
is 0 when the version was promoted, 3 when it was refused, 1 when it couldn't be judged.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.errors import run_flow_command
from flows.promotion.champion import (
    Confirmation,
    judge_and_carry_out,
    judge_version,
    set_champion,
    who,
)
from flows.promotion.judgement import Judgement, open_test_set
from flows.promotion.report import summarize_decision
from flows.ui.approval import show_and_confirm
from flows.ui.flow_run import failed_state_on_error, flow_run_url, who_runs
from flows.ui.registry_lease import connect_registry
from pipeline_steps.base.paths import PREPARED, RETRAIN_WORK, TEST_PAIRS
from pipeline_steps.params import read_params
from pipeline_steps.register.command import CANDIDATE

REFUSED = 3


@flow(name="promote", flow_run_name="promote {version}", validate_parameters=True)
@failed_state_on_error
def promote(
    version: str | int = CANDIDATE, ask: bool = False, unjudged: str | None = None
) -> State[Any]:
    """Judge a version (a number or an alias) and promote it if it's better.

    ``ask`` waits for a person's yes; ``unjudged`` gives a reason for promoting without judging.
    """
    params = read_params()
    registry = connect_registry(params.tracking.registered_model)
    if unjudged:
        entry = set_champion(
            registry,
            version,
            action="promoted",
            reason=f"unjudged: {unjudged}",
            by=who_runs(),
            flow_run=flow_run_url(),
        )
        return Completed(message=summarize_decision(registry.name, entry))
    entry = judge_and_carry_out(
        registry,
        version,
        open_test_set(find_prepared(), st_lpips=params.scores.st_lpips),
        params.promotion,
        confirm=functools.partial(show_and_confirm, ask=ask),
        flow_run=flow_run_url(),
    )
    message = summarize_decision(registry.name, entry)
    return Completed(message=message, name=entry.action.capitalize())


def find_prepared() -> Path:
    """This checkout's prepared pairs; where it has none, those of the retrainings' clone."""
    clone = RETRAIN_WORK / "clone"
    has_own = TEST_PAIRS.exists() or not (clone / TEST_PAIRS).exists()
    return PREPARED if has_own else clone / PREPARED


def main() -> None:
    """Judge a version and act on it, without Prefect."""
    arguments = _parse_arguments()
    params = read_params()
    registry = connect_registry(params.tracking.registered_model)
    if arguments.unjudged:
        reason = f"unjudged: {arguments.unjudged}"
        entry = set_champion(
            registry, arguments.version, action="promoted", reason=reason, by=who()
        )
    else:
        rule, prepared = params.promotion, arguments.prepared or find_prepared()
        test_set = open_test_set(prepared, st_lpips=params.scores.st_lpips)
        if arguments.dry_run:
            judgement = judge_version(registry, arguments.version, test_set, rule)
            print(judgement.report)
            sys.exit(0 if judgement.decision.promote else REFUSED)
        entry = judge_and_carry_out(
            registry, arguments.version, test_set, rule, confirm=_print_report
        )
    print(summarize_decision(registry.name, entry))
    sys.exit(0 if entry.action == "promoted" else REFUSED)


def _print_report(judgement: Judgement) -> Confirmation:
    print(judgement.report)
    return Confirmation(who())


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.promote",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "version", nargs="?", default=CANDIDATE, help="number or alias (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="judge and report, change nothing")
    parser.add_argument(
        "--unjudged",
        metavar="REASON",
        help="promote on your word, without the rule; the reason goes into the ledger",
    )
    parser.add_argument(
        "--prepared",
        type=Path,
        metavar="FOLDER",
        help=f"where the packed test pairs are (default: {PREPARED}, else the retrainings')",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_flow_command(main)
