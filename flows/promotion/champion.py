"""Who is champion: the aliases ``champion`` and ``previous``, moved together with the ledger.

Every change is made under the registry's lock in one order: the ledger's row, as an intent; the
aliases; the row is finished. Whatever a killed process left is settled by the next one, first
thing, so that the ledger and the aliases tell one story.
"""

import getpass
import socket
from typing import TYPE_CHECKING

from flows.errors import PromotionError
from flows.promotion import ledger
from flows.promotion.checks import find_failures
from flows.promotion.judgement import Judgement, TestSet, judge, refuse_unscored
from flows.promotion.ledger import Action, Row
from flows.promotion.versions import CHAMPION, PREVIOUS, find_aliases, find_version, open_version
from pipeline_steps.params import PromotionParams
from pipeline_steps.tracking.registry_lock import registry_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_JUDGEMENTS = 5


class ChampionMovedError(Exception):
    """Another champion was chosen while this one was being compared with."""


def judge_version(
    client: "MlflowClient", name: str, wanted: str | int, test_set: TestSet, rule: PromotionParams
) -> Judgement:
    """Compare a version (a number or an alias) with today's champion.

    The champion itself is refused without being scored. Raises :class:`PromotionError` if there is
    no such version.
    """
    version = find_version(client, name, wanted)
    settle(client, name)
    champion = find_aliases(client, name).get(CHAMPION)
    if champion == version.number:
        return refuse_unscored(version, test_set, champion, rule, "it is the champion already")
    return judge(
        name,
        version,
        champion=champion,
        test_set=test_set,
        champion_test_set=_test_set_of(client, name, champion),
        rule=rule,
    )


def carry_out(
    client: "MlflowClient",
    name: str,
    judgement: Judgement,
    *,
    by: str,
    flow_run: str = "",
    refused_because: str | None = None,
) -> Row:
    """Move the aliases as decided, and write it down; ``refused_because`` is a person's veto.

    Raises :class:`ChampionMovedError` if the champion is no longer the one compared with.
    """
    with registry_lock(client, name):
        _settle(client, name)
        aliases = find_aliases(client, name)
        before = aliases.get(CHAMPION)
        if before != judgement.champion:
            raise ChampionMovedError
        promote = judgement.decision.promote and refused_because is None
        row = Row(
            action="promoted" if promote else "refused",
            version=judgement.version.number,
            champion_before=before,
            champion=judgement.version.number if promote else before,
            previous=before if promote else aliases.get(PREVIOUS),
            reason=refused_because or judgement.decision.reason,
            by=by,
            git_commit=judgement.version.tags.get("git_commit", "unknown"),
            test_fingerprint=judgement.test_set.fingerprint,
            test_pairs=len(judgement.test_set.pairs),
            metrics=judgement.metrics,
            intervals=judgement.decision.intervals,
            rule=ledger.fingerprint_rule(judgement.rule),
            flow_run=flow_run,
        )
        row = ledger.append_intent(client, name, row)
        _move_aliases(client, name, row)
        with judgement.artifacts() as folder:
            ledger.finish(client, row, folder)
    return row


def judge_and_carry_out(
    client: "MlflowClient",
    name: str,
    wanted: str | int,
    test_set: TestSet,
    rule: PromotionParams,
    *,
    by: str,
    flow_run: str = "",
) -> tuple[Judgement, Row]:
    """Judge and act, again if the champion moved meanwhile."""
    for _ in range(MAX_JUDGEMENTS):
        judgement = judge_version(client, name, wanted, test_set, rule)
        try:
            return judgement, carry_out(client, name, judgement, by=by, flow_run=flow_run)
        except ChampionMovedError:
            continue
    raise PromotionError(
        f"the champion of {name} changed {MAX_JUDGEMENTS} times while version {wanted} was being"
        " compared with it; run again when the others are done"
    )


def set_champion(
    client: "MlflowClient",
    name: str,
    wanted: str | int,
    *,
    action: Action,
    reason: str,
    by: str,
    flow_run: str = "",
) -> Row:
    """Make a version the champion on a person's word, if its files are whole and it works.

    What was champion becomes ``previous``, so the same command leads back. The champion itself is
    refused, in the ledger. Raises :class:`PromotionError` if there is no such version, or it
    doesn't work.
    """
    with registry_lock(client, name):
        _settle(client, name)
        version = find_version(client, name, wanted)
        aliases = find_aliases(client, name)
        before = aliases.get(CHAMPION)
        moves = version.number != before
        if moves:
            _require_working(name, version.number)
        row = Row(
            action=action if moves else "refused",
            version=version.number,
            champion_before=before,
            champion=version.number,
            previous=before if moves else aliases.get(PREVIOUS),
            reason=reason if moves else f"it is the champion already ({reason})",
            by=by,
            git_commit=version.tags.get("git_commit", "unknown"),
            flow_run=flow_run,
        )
        row = ledger.append_intent(client, name, row)
        _move_aliases(client, name, row)
        ledger.finish(client, row)
    return row


def settle(client: "MlflowClient", name: str) -> None:
    """Make ledger and aliases tell one story, after a crash or a hand that moved an alias."""
    with registry_lock(client, name):
        _settle(client, name)


def who() -> str:
    """``user@host``, for the ledger."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _settle(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    for row in ledger.read_rows(client, name):
        if row.state != "intent":
            continue
        try:
            _move_aliases(client, name, row)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            ledger.give_up(client, row, str(error).splitlines()[0])
        else:
            ledger.finish(client, row)
    told = _last_champion(client, name)
    aliases = find_aliases(client, name)
    found = aliases.get(CHAMPION)
    if found != told:
        row = Row(
            action="moved outside",
            version=found,
            champion_before=told,
            champion=found,
            previous=told,
            reason="the alias was moved by other means than promote and rollback",
            by="unknown",
        )
        row = ledger.append_intent(client, name, row)
        _move_aliases(client, name, row)
        ledger.finish(client, row)


def _move_aliases(client: "MlflowClient", name: str, row: Row) -> None:
    """Set both aliases as a row says; doing it twice changes nothing."""
    if row.version is not None:
        tags = {"decision": row.action, "decision.row": str(row.sequence)}
        for key, value in (tags | {"decision.reason": row.reason[: ledger.MAX_TAG_CHARS]}).items():
            client.set_model_version_tag(name, str(row.version), key, value)
    for alias, version in ((PREVIOUS, row.previous), (CHAMPION, row.champion)):
        if find_aliases(client, name).get(alias) == version:
            continue
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(version))


def _last_champion(client: "MlflowClient", name: str) -> int | None:
    carried_out = [row for row in ledger.read_rows(client, name) if row.state == "done"]
    return carried_out[-1].champion if carried_out else None


def _test_set_of(client: "MlflowClient", name: str, champion: int | None) -> str | None:
    """The fingerprint of the test set that a champion was last promoted on."""
    for row in reversed(ledger.read_rows(client, name)):
        if row.champion == champion and row.action == "promoted" and row.test_fingerprint:
            return row.test_fingerprint
    return None


def _require_working(name: str, number: int) -> None:
    with open_version(name, number) as colorizer:
        failures = find_failures(colorizer, max_latency_ms=float("inf"))
    if failures:
        raise PromotionError(f"{name} version {number} doesn't work: {'; '.join(failures)}")
