"""``python -m flows.promote [VERSION]``: make a version the champion, if it's better.

Reads  the registry, data/prepared/{test.npy,train_mean.npy}, params.yaml (``promotion``)
Writes the aliases ``champion`` and ``previous``, and a row of the ledger

Both models are scored again on the same test pairs, with the files that people get. The exit code
is 0 when the version was promoted, 3 when it was refused, 1 when it couldn't be judged.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.errors import PromotionError, run_flow_command
from flows.promotion.champion import (
    MAX_JUDGEMENTS,
    ChampionMovedError,
    carry_out,
    judge_and_carry_out,
    judge_version,
    set_champion,
    who,
)
from flows.promotion.judgement import Judgement, TestSet, open_test_set
from flows.promotion.ledger import Row
from flows.ui.approval import ask_person
from flows.ui.artifacts import show_report
from flows.ui.flow_run import failed_state_on_error, flow_run_url, who_runs
from pipeline_steps.base.paths import PREPARED, RETRAIN_WORK, TEST_PAIRS
from pipeline_steps.params import PromotionParams, read_params
from pipeline_steps.register.command import CANDIDATE
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

REFUSED = 3


@flow(name="promote", validate_parameters=True)
@failed_state_on_error
def promote(version: str = CANDIDATE, ask: bool = False, unjudged: str | None = None) -> State[Any]:
    """Judge a version (a number or an alias) and promote it if it's better.

    ``ask`` waits for a person's yes; ``unjudged`` gives a reason for promoting without judging.
    """
    params = read_params()
    client, name = mlflow_server.connect(), params.tracking.registered_model
    if unjudged:
        row = set_champion(
            client,
            name,
            version,
            action="promoted",
            reason=f"unjudged: {unjudged}",
            by=who_runs(),
            flow_run=flow_run_url(),
        )
        return Completed(message=summarize_decision(name, row))
    test_set = open_test_set(find_prepared())
    row = judge_in_flow(client, name, version, test_set, params.promotion, ask=ask)
    return Completed(message=summarize_decision(name, row), name=row.action.capitalize())


def judge_in_flow(
    client: "MlflowClient",
    name: str,
    version: str | int,
    test_set: TestSet,
    rule: PromotionParams,
    *,
    ask: bool,
) -> Row:
    """Judge a version within a flow run, show the comparison, ask a person if told to, and act.

    The person is asked only about what the rule would promote.
    """
    for _ in range(MAX_JUDGEMENTS):
        judgement = judge_version(client, name, version, test_set, rule)
        show_report(judgement.report)
        by, veto = who_runs(), None
        if ask and judgement.decision.promote:
            by, veto = _answer(judgement, by)
        try:
            return carry_out(
                client, name, judgement, by=by, flow_run=flow_run_url(), refused_because=veto
            )
        except ChampionMovedError:
            continue
    raise PromotionError(f"the champion of {name} kept changing while {version} was being judged")


def _answer(judgement: Judgement, by: str) -> tuple[str, str | None]:
    """Who decided, and why not, if not."""
    answer = ask_person(judgement.report)
    name = f"{answer.name or 'someone in the UI'}, {by}"
    if answer.approve:
        return name, None
    return name, f"not approved: {answer.reason or 'no reason given'}"


def find_prepared() -> Path:
    """This checkout's prepared pairs; where it has none, those of the retrainings' clone."""
    clone = RETRAIN_WORK / "clone"
    has_own = TEST_PAIRS.exists() or not (clone / TEST_PAIRS).exists()
    return PREPARED if has_own else clone / PREPARED


def summarize_decision(name: str, row: Row) -> str:
    """What a decision did, on one line."""
    if row.action == "refused":
        stays = f"version {row.champion} stays champion" if row.champion else "there is no champion"
        return f"refused: {name} version {row.version}, {stays}: {row.reason}"
    before = f" (before: version {row.champion_before})" if row.champion_before else ""
    return f"{row.action}: {name} version {row.champion} is champion{before}: {row.reason}"


def main() -> None:
    """Judge a version and act on it, without Prefect."""
    arguments = _parse_arguments()
    params = read_params()
    client, name = mlflow_server.connect(), params.tracking.registered_model
    if arguments.unjudged:
        reason = f"unjudged: {arguments.unjudged}"
        row = set_champion(
            client, name, arguments.version, action="promoted", reason=reason, by=who()
        )
    else:
        test_set, rule = open_test_set(arguments.prepared or find_prepared()), params.promotion
        if arguments.dry_run:
            judgement = judge_version(client, name, arguments.version, test_set, rule)
            print(judgement.report)
            sys.exit(0 if judgement.decision.promote else REFUSED)
        judgement, row = judge_and_carry_out(
            client, name, arguments.version, test_set, rule, by=who()
        )
        print(judgement.report)
    print(summarize_decision(name, row))
    sys.exit(0 if row.action == "promoted" else REFUSED)


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
