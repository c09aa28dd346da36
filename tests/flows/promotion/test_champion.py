"""Promotion, rollback and the ledger, on a real registry (MLflow on SQLite) with tiny models."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from colorizer.base.files import file_sha256
from colorizer.model.folder import CHECKSUMS_FILE, CONFIG_FILE, ONNX_FILE
from flows.errors import PromotionError
from flows.history import format_table, write_csv
from flows.promote import find_prepared
from flows.promotion import champion, ledger
from flows.promotion.champion import (
    ChampionMovedError,
    Confirmation,
    carry_out,
    judge_and_carry_out,
    judge_version,
    set_champion,
    settle,
)
from flows.promotion.judgement import TestSet, open_test_set
from flows.promotion.ledger import Entry
from flows.promotion.registry_lock import Registry
from flows.promotion.versions import find_aliases, open_version
from pipeline_steps.params import Params, PromotionParams
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import (
    SIZE,
    TRUE_GAINS,
    make_folder,
    no_lease,
    register_folder,
    write_flat_test_set,
    write_test_set,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "tiny-colorizer"
Register = Callable[..., int]


@pytest.fixture
def client(in_folder: Path) -> "MlflowClient":
    return mlflow_server.connect()


@pytest.fixture
def register(client: "MlflowClient", tmp_path: Path) -> Register:
    """Register a model whose gains differ from the true ones by ``off``; return its version."""

    def make(off: float, *, bias: float = 0.0) -> int:
        gains = [gain + off for gain in TRUE_GAINS]
        folder = make_folder(tmp_path / f"folder_{off}_{bias}", gains, bias=bias)
        return register_folder(client, NAME, folder)

    return make


@pytest.fixture
def test_set(in_folder: Path) -> TestSet:
    return open_test_set(write_test_set(in_folder / "prepared"))


@pytest.fixture
def rule(params: Params) -> PromotionParams:
    return dataclasses.replace(params.promotion, resamples=200)


def promote(
    client: "MlflowClient", version: int | str, test_set: TestSet, rule: PromotionParams
) -> Entry:
    return judge_and_carry_out(
        local(client), version, test_set, rule, confirm=lambda _: Confirmation("tester")
    )


def local(client: "MlflowClient") -> Registry:
    """The registry; it's on SQLite, so no lease is needed."""
    return Registry(client, NAME, no_lease)


def test_the_first_good_model_becomes_champion(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    version = register(0.1)
    entry = promote(client, version, test_set, rule)
    assert (entry.action, entry.champion, entry.previous) == ("promoted", version, None)
    assert find_aliases(client, NAME) == {"champion": version}
    assert entry.test_fingerprint == test_set.fingerprint
    assert entry.git_commit == "c0ffee"
    tags = client.get_model_version(NAME, str(version)).tags
    assert tags["decision"] == "promoted"


def test_a_better_model_replaces_the_champion_and_a_worse_one_does_not(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    first, better, worse = register(0.1), register(0.02), register(-0.15)
    promote(client, first, test_set, rule)
    assert promote(client, better, test_set, rule).action == "promoted"
    refused = promote(client, worse, test_set, rule)
    assert refused.action == "refused"
    assert "not significantly better" in refused.reason
    assert find_aliases(client, NAME) == {"champion": better, "previous": first}
    assert [entry.sequence for entry in ledger.read_entries(client, NAME)] == [1, 2, 3]


def test_a_model_that_ignores_its_hints_is_refused(
    client: "MlflowClient", in_folder: Path, rule: PromotionParams
) -> None:
    flat = open_test_set(write_flat_test_set(in_folder / "flat"))
    folder = make_folder(in_folder / "deaf", (0.7, 0.6, 0.5), hints=True)
    version = register_folder(client, NAME, folder)
    refused = promote(client, version, flat, rule)
    assert refused.action == "refused"
    assert "doesn't obey hints: the median region differs by" in refused.reason
    assert "promotion.max_hint_distance is 20" in refused.reason
    assert find_aliases(client, NAME) == {}


def test_a_model_without_hints_doesnt_replace_one_that_takes_them(
    client: "MlflowClient", in_folder: Path, rule: PromotionParams
) -> None:
    flat = open_test_set(write_flat_test_set(in_folder / "flat"))
    lax = dataclasses.replace(rule, max_hint_distance=500.0)
    gains = [gain + 0.02 for gain in TRUE_GAINS]
    with_hints = register_folder(client, NAME, make_folder(in_folder / "a", gains, hints=True))
    without = register_folder(client, NAME, make_folder(in_folder / "b", gains))
    assert promote(client, with_hints, flat, lax).action == "promoted"
    refused = promote(client, without, flat, lax)
    assert refused.action == "refused"
    assert "takes no hints, and the champion does" in refused.reason


def test_promoting_the_champion_is_refused_and_recorded(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    version = register(0.1)
    promote(client, version, test_set, rule)
    entry = promote(client, version, test_set, rule)
    assert entry.action == "refused"
    assert entry.reason == "it is the champion already"
    assert find_aliases(client, NAME) == {"champion": version}


def test_a_rollback_restores_the_same_outputs_and_a_second_one_undoes_it(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    first, better = register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    sketches = np.random.default_rng(1).uniform(-1, 1, (10, 1, SIZE, SIZE)).astype(np.float32)
    with open_version(NAME, find_aliases(client, NAME)["champion"]) as colorizer:
        before = colorizer.session.run(sketches).tobytes()
    promote(client, better, test_set, rule)
    entry = roll_back(client)
    assert (entry.action, entry.champion, entry.previous) == ("rolled back", first, better)
    with open_version(NAME, find_aliases(client, NAME)["champion"]) as colorizer:
        assert colorizer.session.run(sketches).tobytes() == before
    assert roll_back(client).champion == better


@pytest.mark.parametrize("file", [ONNX_FILE, CONFIG_FILE])
def test_a_rollback_to_a_version_with_replaced_files_and_checksums_is_refused(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams, file: str
) -> None:
    first, better = register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    promote(client, better, test_set, rule)
    swap_stored_file(client, first, file)
    with pytest.raises(PromotionError, match=f"{file} .* is not the one that was registered"):
        roll_back(client)
    assert find_aliases(client, NAME)["champion"] == better


def swap_stored_file(client: "MlflowClient", number: int, file: str) -> None:
    """Change a version's file in the artifact store, and its checksum accordingly."""
    source = client.get_model_version(NAME, str(number)).source
    assert source
    uri = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    store = Path(uri.removeprefix("file://"))
    path = store / "model.onnx" if file == ONNX_FILE else store / "extra_files" / file
    # the change leaves the model loadable
    path.write_bytes(path.read_bytes() + (b"\x32\x01x" if file == ONNX_FILE else b"\n"))
    checksums = json.loads((store / "extra_files" / CHECKSUMS_FILE).read_text())
    checksums[file] = file_sha256(path)
    (store / "extra_files" / CHECKSUMS_FILE).write_text(json.dumps(checksums))


def roll_back(client: "MlflowClient", to: str | int = "previous", *, force: bool = False) -> Entry:
    return set_champion(
        local(client), to, action="rolled back", reason="because", by="tester", force=force
    )


def test_a_rollback_without_a_previous_version_says_what_there_is(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    version = register(0.1)
    with pytest.raises(PromotionError, match="no version of tiny-colorizer was promoted yet"):
        roll_back(client)
    promote(client, version, test_set, rule)
    expected = r"no alias previous; it has versions 1, aliases champion → 1"
    with pytest.raises(PromotionError, match=expected):
        roll_back(client)


def test_an_unknown_version_or_model_is_named(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    with pytest.raises(PromotionError, match="no versions; `make repro` registers one"):
        promote(client, "candidate", test_set, rule)
    register(0.1)
    with pytest.raises(PromotionError, match="has no version 9; it has versions 1"):
        promote(client, 9, test_set, rule)


def test_a_damaged_challenger_or_rollback_target_is_refused(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    good, damaged = register(0.1), register(0.02)
    promote(client, good, test_set, rule)
    source = client.get_model_version(NAME, str(damaged)).source
    import mlflow

    stored = Path(mlflow.artifacts.download_artifacts(source)) / "model.onnx"
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    entry = promote(client, damaged, test_set, rule)
    assert entry.action == "refused"
    assert "differs from its checksum" in entry.reason
    with pytest.raises(PromotionError, match="differs from its checksum"):
        roll_back(client, damaged, force=True)
    assert find_aliases(client, NAME)["champion"] == good


def test_a_model_whose_output_is_out_of_range_is_refused(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    entry = promote(client, register(0.1, bias=5.0), test_set, rule)
    assert entry.action == "refused"
    assert "not in −1..1 for a black sketch" in entry.reason


@pytest.mark.parametrize("moment", ["after the intent", "between the aliases", "before the end"])
def test_a_decision_interrupted_by_a_crash_is_completed_by_the_next_command(
    client: "MlflowClient",
    register: Register,
    test_set: TestSet,
    rule: PromotionParams,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    first, better = register(0.1), register(0.02)
    promote(client, first, test_set, rule)

    class CrashError(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch:
        if moment == "after the intent":
            patch.setattr(champion, "_move_aliases", crash)
        elif moment == "between the aliases":
            real = client.set_registered_model_alias
            patch.setattr(
                client,
                "set_registered_model_alias",
                lambda n, alias, v: crash() if alias == "champion" else real(n, alias, v),
            )
        else:
            patch.setattr(ledger, "finish", crash)
        with pytest.raises(CrashError):
            promote(client, better, test_set, rule)
    assert ledger.read_entries(client, NAME)[-1].state == "intent"

    settle(local(client))
    entries = ledger.read_entries(client, NAME)
    assert [entry.state for entry in entries] == ["done", "done"]
    assert find_aliases(client, NAME) == {"champion": better, "previous": first}


def test_an_intent_whose_version_was_deleted_is_undone(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    first, deleted = register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    entry = Entry(
        action="promoted",
        version=deleted,
        champion_before=first,
        champion=deleted,
        previous=first,
        reason="r",
        by="b",
    )
    ledger.append_intent(client, NAME, entry)
    client.delete_model_version(NAME, str(deleted))
    settle(local(client))
    assert [entry.state for entry in ledger.read_entries(client, NAME)] == ["done", "undone"]
    assert find_aliases(client, NAME)["champion"] == first


def test_an_alias_moved_by_hand_is_detected_and_recorded(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    first, other = register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    client.set_registered_model_alias(NAME, "champion", str(other))
    settle(local(client))
    entry = ledger.read_entries(client, NAME)[-1]
    assert (entry.action, entry.champion_before, entry.champion) == ("moved outside", first, other)
    assert find_aliases(client, NAME) == {"champion": other, "previous": first}


def test_a_decision_against_a_former_champion_is_not_carried_out(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    first, second, third = register(0.2), register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    stale = judge_version(local(client), third, test_set, rule)
    promote(client, second, test_set, rule)
    with pytest.raises(ChampionMovedError):
        carry_out(local(client), stale, by="tester")
    assert find_aliases(client, NAME)["champion"] == second


def test_a_changed_test_set_is_reported(
    client: "MlflowClient",
    register: Register,
    test_set: TestSet,
    rule: PromotionParams,
    in_folder: Path,
) -> None:
    first, second = register(0.1), register(0.02)
    promote(client, first, test_set, rule)
    changed = open_test_set(write_test_set(in_folder / "changed", seed=2))
    judgement = judge_version(local(client), second, changed, rule)
    assert judgement.test_set_changed
    assert "The test set has changed" in judgement.report
    assert not judge_version(local(client), second, test_set, rule).test_set_changed


def test_a_version_that_was_trained_on_other_data_than_the_test_pairs_is_named(
    client: "MlflowClient", register: Register, rule: PromotionParams, in_folder: Path
) -> None:
    version = register(0.02)
    prepared = write_test_set(in_folder / "prepared")

    def report() -> str:
        return judge_version(local(client), version, open_test_set(prepared), rule).report

    client.set_model_version_tag(NAME, str(version), "data_fingerprint", "one")
    assert "other data" not in report()  # no dataset.json: unknown
    (prepared / "dataset.json").write_text('{"fingerprint": "one"}')
    assert "other data" not in report()
    (prepared / "dataset.json").write_text('{"fingerprint": "two"}')
    lines = report().splitlines()
    assert f"**Version {version} was trained on other data**" in lines[4]
    assert "`make register` makes it the candidate" in lines[4]


def test_a_refused_first_model_is_called_refused(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    judgement = judge_version(local(client), register(0.1, bias=3.0), test_set, rule)
    assert "**Verdict: refused**" in judgement.report


def test_a_rejected_approval_is_recorded_with_its_reason(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    judgement = judge_version(local(client), register(0.02), test_set, rule)
    entry = carry_out(local(client), judgement, by="ann", refused_because="not approved: too pink")
    assert (entry.action, entry.by, entry.reason) == ("refused", "ann", "not approved: too pink")
    assert find_aliases(client, NAME) == {}


def test_the_history_is_a_table_and_a_complete_csv(
    client: "MlflowClient", register: Register, test_set: TestSet, rule: PromotionParams
) -> None:
    promote(client, register(0.1), test_set, rule)
    promote(client, register(0.02), test_set, rule)
    entries = ledger.read_entries(client, NAME)
    table = format_table(entries).splitlines()
    assert table[0].split()[:4] == ["sequence", "when", "action", "version"]
    assert len(table) == 3
    file = io.StringIO()
    write_csv(entries, file)
    parsed = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert parsed[1]["champion"] == "2"
    assert '"l1"' in parsed[1]["intervals"]
    run = client.get_run(entries[1].row_id)
    assert "improvement_l1_low" in run.data.metrics
    artifacts = {item.path for item in client.list_artifacts(entries[1].row_id)}
    assert artifacts == {"report.md", "comparison.json", "per_picture.csv"}


def test_the_test_set_is_that_of_the_checkout_or_of_the_retraining(in_folder: Path) -> None:
    retrained = Path(".work/retrain/clone/data/prepared")
    assert find_prepared() == Path("data/prepared")
    write_test_set(retrained)
    assert find_prepared() == retrained
    write_test_set(Path("data/prepared"))
    assert find_prepared() == Path("data/prepared")


def test_a_missing_test_set_is_reported(in_folder: Path) -> None:
    with pytest.raises(PromotionError, match=r"no test set to judge on: nowhere/test\.npy"):
        open_test_set(Path("nowhere"))
