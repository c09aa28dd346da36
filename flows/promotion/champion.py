"""Who is champion: the aliases ``champion`` and ``previous``, moved together with the ledger.

Every change is made under the registry's lock in one order: the ledger's entry, as an intent; the
aliases; the entry is finished. What a killed process left undecided is completed or given up by
the next one, first thing, so that the ledger and the aliases agree.
"""

import dataclasses
import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from flows.errors import PromotionError
from flows.promotion import ledger
from flows.promotion.checks import find_failures
from flows.promotion.judgement import Judgement, TestSet, refuse_unscored, score_and_decide
from flows.promotion.ledger import Action, Entry
from flows.promotion.registry_lock import Lease, Registry, registry_lock
from flows.promotion.versions import (
    CHAMPION,
    PREVIOUS,
    find_aliases,
    find_creation_ms,
    find_version,
    open_version,
    version_exists,
)
from pipeline_steps.params import PromotionParams

MAX_JUDGEMENTS = 5


class ChampionMovedError(Exception):
    """Another champion was chosen while this one was being compared with."""


@dataclass(frozen=True)
class Standing:
    """The ledger and the aliases, read one after the other."""

    all_entries: list[Entry]
    """Oldest first, those about an earlier model of the same name too."""
    aliases: dict[str, int]
    model_created_ms: int | None
    """When the registered model was made; None if there is none."""

    @property
    def entries(self) -> list[Entry]:
        """The decisions about the model that has the name now, oldest first."""
        return [entry for entry in self.all_entries if self.is_current(entry)]

    def is_current(self, entry: Entry) -> bool:
        """Whether an entry's numbers are versions of the model that has the name now."""
        if self.model_created_ms is None:
            return False
        if entry.model_created_ms:
            return entry.model_created_ms == self.model_created_ms
        return datetime.fromisoformat(entry.when).timestamp() * 1000 >= self.model_created_ms

    @property
    def champion(self) -> int | None:
        """The version that the alias names."""
        return self.aliases.get(CHAMPION)

    @property
    def recorded_champion(self) -> int | None:
        """The version that the ledger names."""
        done = [entry for entry in self.entries if entry.state == "done"]
        return done[-1].champion if done else None

    @property
    def intents(self) -> list[Entry]:
        """Entries that are neither carried out nor given up."""
        return [entry for entry in self.all_entries if entry.state == "intent"]

    @property
    def former_champions(self) -> set[int]:
        """The versions that were champion, or are."""
        done = (entry for entry in self.entries if entry.state == "done")
        return {entry.champion for entry in done if entry.champion is not None}

    @property
    def is_settled(self) -> bool:
        """Whether ledger and aliases agree, and nothing is left to carry out."""
        return not self.intents and self.champion == self.recorded_champion


class Confirmation(NamedTuple):
    """Who is responsible for a decision, and the reason for a veto, if there is one."""

    by: str
    veto: str | None = None


def read_standing(registry: Registry) -> Standing:
    """Read the ledger and the aliases."""
    entries = ledger.read_entries(registry.client, registry.name)
    aliases = find_aliases(registry.client, registry.name)
    return Standing(entries, aliases, find_creation_ms(registry.client, registry.name))


def settle(registry: Registry) -> Standing:
    """Make ledger and aliases agree, after a crash or an alias that was moved by other means.

    Takes the registry's lock only if they don't.
    """
    standing = read_standing(registry)
    if standing.is_settled:
        return standing
    with registry_lock(registry) as lease:
        return _settle(registry, lease)


def was_decided(
    standing: Standing, version: int, test_fingerprint: str, rule: PromotionParams
) -> bool:
    """Whether judging the version would repeat a decision: same models, test set and rule."""
    wanted = (version, standing.champion, test_fingerprint, ledger.fingerprint_rule(rule))
    return standing.champion == version or any(
        (entry.version, entry.champion, entry.test_fingerprint, entry.rule) == wanted
        for entry in standing.entries
    )


def judge_version(
    registry: Registry,
    wanted: str | int,
    test_set: TestSet,
    rule: PromotionParams,
    standing: Standing | None = None,
) -> Judgement:
    """Compare a version (a number or an alias) with the champion; changes nothing.

    ``standing`` is what :func:`settle` returned, if it's known. The champion itself is refused
    without being scored. Raises :class:`PromotionError` if there is no such version.
    """
    version = find_version(registry.client, registry.name, wanted)
    standing = standing or settle(registry)
    champion = standing.champion
    if champion == version.number:
        return refuse_unscored(version, test_set, champion, rule, "it is the champion already")
    return score_and_decide(
        registry.name,
        version,
        champion=champion,
        test_set=test_set,
        champion_test_set=_test_set_of(standing, champion),
        rule=rule,
    )


def carry_out(
    registry: Registry,
    judgement: Judgement,
    *,
    by: str,
    flow_run: str = "",
    refused_because: str | None = None,
) -> Entry:
    """Move the aliases as decided, and write it down; ``refused_because`` is a person's veto.

    Raises :class:`ChampionMovedError` if the champion is no longer the one compared with.
    """
    with registry_lock(registry) as lease:
        standing = read_standing(registry)
        if not standing.is_settled or standing.champion != judgement.champion:
            raise ChampionMovedError
        promote = judgement.decision.promote and refused_because is None
        before, number = standing.champion, judgement.version.number
        entry = Entry(
            action="promoted" if promote else "refused",
            version=number,
            champion_before=before,
            champion=number if promote else before,
            previous=before if promote else standing.aliases.get(PREVIOUS),
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
        with judgement.artifacts() as folder:
            return _record(registry, lease, entry, folder)


def judge_and_carry_out(
    registry: Registry,
    wanted: str | int,
    test_set: TestSet,
    rule: PromotionParams,
    *,
    confirm: Callable[[Judgement], Confirmation],
    flow_run: str = "",
    standing: Standing | None = None,
) -> Entry:
    """Judge and act, again if the champion moved meanwhile.

    ``confirm`` is called with each judgement before it's carried out. ``standing`` is what
    :func:`settle` returned, if it's known.
    """
    for _ in range(MAX_JUDGEMENTS):
        judgement = judge_version(registry, wanted, test_set, rule, standing)
        by, veto = confirm(judgement)
        try:
            return carry_out(registry, judgement, by=by, flow_run=flow_run, refused_because=veto)
        except ChampionMovedError:
            standing = None
    raise PromotionError(
        f"the champion of {registry.name} changed {MAX_JUDGEMENTS} times while version {wanted} was"
        " being compared with it; run again when the others are done"
    )


def set_champion(
    registry: Registry,
    wanted: str | int,
    *,
    action: Action,
    reason: str,
    by: str,
    flow_run: str = "",
    force: bool = False,
) -> Entry:
    """Make a version the champion on a person's word, if its checksums match and it works.

    What was champion becomes ``previous``, so the same command leads back. The champion itself is
    refused, in the ledger. Raises :class:`PromotionError` if there is no such version, it doesn't
    work, or it is to be rolled back to and never was champion, unless with ``force``.
    """
    with registry_lock(registry) as lease:
        standing = _settle(registry, lease)
        left = _former_champions_left(registry, standing)
        lacks_previous = wanted == PREVIOUS and PREVIOUS not in standing.aliases
        if lacks_previous and left:
            raise PromotionError(
                f"{registry.name} has no alias {PREVIOUS}; of earlier champions it has version"
                f" {left}: name one with --to"
            )
        is_registered = standing.model_created_ms is not None
        if lacks_previous and is_registered and not standing.former_champions:
            raise PromotionError(
                f"no version of {registry.name} was promoted yet; `make promote` makes the first"
                " champion"
            )
        version = find_version(registry.client, registry.name, wanted)
        if action == "rolled back" and version.number not in standing.former_champions:
            if not force:
                raise PromotionError(
                    f"{registry.name} version {version.number} never was champion (earlier ones:"
                    f" {left or 'none'}); --force makes it champion all the same"
                )
            reason = f"forced, it never was champion: {reason}"
        before = standing.champion
        moves = version.number != before
        if moves:
            _require_working(registry.name, version.number)
        entry = Entry(
            action=action if moves else "refused",
            version=version.number,
            champion_before=before,
            champion=version.number,
            previous=before if moves else standing.aliases.get(PREVIOUS),
            reason=reason if moves else f"it is the champion already ({reason})",
            by=by,
            git_commit=version.tags.get("git_commit", "unknown"),
            flow_run=flow_run,
        )
        return _record(registry, lease, entry)


def who() -> str:
    """``user@host``, for the ledger."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _former_champions_left(registry: Registry, standing: Standing) -> str:
    """The versions that were champion and aren't deleted, but for the present one: "1, 4"."""
    left = [
        str(number)
        for number in sorted(standing.former_champions - {standing.champion})
        if version_exists(registry.client, registry.name, number)
    ]
    return ", ".join(left)


def _settle(registry: Registry, lease: Lease) -> Standing:
    standing = read_standing(registry)
    for entry in standing.intents:
        _complete(registry, lease, entry, read_standing(registry))
    standing = read_standing(registry)
    if standing.is_settled:
        return standing
    found, recorded = standing.champion, standing.recorded_champion
    is_left = recorded is not None and version_exists(registry.client, registry.name, recorded)
    moved = Entry(
        action="moved outside",
        version=found,
        champion_before=recorded,
        champion=found,
        previous=recorded if is_left else standing.aliases.get(PREVIOUS),
        reason="the alias was moved by other means than promote and rollback"
        if is_left or recorded is None
        else f"version {recorded}, the champion, was deleted",
        by="unknown",
    )
    _record(registry, lease, moved)
    return read_standing(registry)


def _complete(registry: Registry, lease: Lease, intent: Entry, standing: Standing) -> None:
    """Complete the decision of a killed process, or give it up if it was overtaken."""
    from mlflow.exceptions import MlflowException

    client = registry.client
    if not standing.is_current(intent):
        lease.require_held()
        ledger.give_up(client, intent, "the registered model was deleted")
        return
    # written late, by a process that was suspended for longer than its lease
    is_overtaken = any(
        entry.state == "done" and entry.sequence >= intent.sequence
        for entry in standing.all_entries
    )
    if is_overtaken or intent.champion_before != standing.recorded_champion:
        lease.require_held()
        ledger.give_up(client, intent, "another decision was carried out before")
        return
    try:
        _move_aliases(registry, lease, intent)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        ledger.give_up(client, intent, str(error).splitlines()[0])
    else:
        ledger.finish(client, intent)


def _record(registry: Registry, lease: Lease, entry: Entry, artifacts: Path | None = None) -> Entry:
    """Write the entry, move the aliases as it says, and finish it.

    Raises :class:`PromotionError` before the aliases move if another process took over meanwhile;
    that one has completed the entry, or the next one gives it up.
    """
    lease.require_held()
    created_ms = find_creation_ms(registry.client, registry.name)
    entry = dataclasses.replace(entry, model_created_ms=created_ms or 0)
    entry = ledger.append_intent(registry.client, registry.name, entry)
    _require_newest_intent(registry, entry)
    _move_aliases(registry, lease, entry)
    ledger.finish(registry.client, entry, artifacts)
    return entry


def _require_newest_intent(registry: Registry, entry: Entry) -> None:
    later = read_standing(registry).all_entries
    newest = later[-1] if later else None
    if newest is None or newest.row_id != entry.row_id or newest.state != "intent":
        raise PromotionError(
            f"another process took over the registry of {registry.name} before decision"
            f" {entry.sequence} was carried out; see `python -m flows.history`"
        )


def _move_aliases(registry: Registry, lease: Lease, entry: Entry) -> None:
    """Set both aliases as an entry says; doing it twice changes nothing.

    The lease is renewed right before each write. MLflow doesn't check it, so a process that is
    suspended within one request, and past the lease, can still write.
    """
    client, name = registry.client, registry.name
    lease.require_held()
    if entry.version is not None:  # first: it fails if the version was deleted
        tags = {"decision": entry.action, "decision.row": str(entry.sequence)}
        tags["decision.reason"] = entry.reason[: ledger.MAX_TAG_CHARS]
        for key, value in tags.items():
            client.set_model_version_tag(name, str(entry.version), key, value)
    for alias, version in ((PREVIOUS, entry.previous), (CHAMPION, entry.champion)):
        if find_aliases(client, name).get(alias) == version:
            continue
        lease.require_held()
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(version))


def _test_set_of(standing: Standing, champion: int | None) -> str | None:
    """The fingerprint of the test set that a champion was last promoted on."""
    for entry in reversed(standing.entries):
        if entry.champion == champion and entry.action == "promoted" and entry.test_fingerprint:
            return entry.test_fingerprint
    return None


def _require_working(name: str, number: int) -> None:
    with open_version(name, number) as colorizer:
        failures = find_failures(colorizer, max_latency_ms=float("inf"))
    if failures:
        raise PromotionError(f"{name} version {number} doesn't work: {'; '.join(failures)}")
