"""What people do to a registry in MLflow's UI is recorded, and is no dead end.

Each claim on the embedded database, and over REST on a server.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests

from flows.errors import PromotionError
from flows.history import format_table
from flows.promotion import ledger
from flows.promotion.champion import read_standing, set_champion, settle
from flows.promotion.ledger import Entry
from flows.promotion.registry_lock import Registry
from flows.promotion.versions import find_aliases
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry, no_lease, register_folder
from tests.whole.prefect_stack import end, free_port, require_running, wait_until

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "sketch-colorizer"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with versions 1 and 2, of which first 1 and then 2 was made champion."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make_registry(folder, NAME)
        registry = Registry(mlflow_server.connect(), NAME, no_lease)
        for version in (1, 2):
            set_champion(registry, version, action="promoted", reason="good", by="tester")
    return folder


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["RestServer"]:
    """A server of a copy of the template's database."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(template / "mlflow.db", folder)
    port, log_path = free_port(), folder / "log"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
    ]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    url = f"http://127.0.0.1:{port}"

    def responds() -> bool:
        try:
            return require_running(process, log_path) and requests.get(f"{url}/health").ok
        except requests.RequestException:
            return False

    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | off, stdout=log, stderr=log
        )
    try:
        wait_until(responds, 180, lambda: log_path.read_text(errors="replace")[-2000:])
        yield RestServer(url, folder / "mlflow.db", template / "mlflow.db")
    finally:
        end(process)


class RestServer(NamedTuple):
    """A server's address, its database, and the one to start each test from."""

    url: str
    database: Path
    template: Path

    def reset(self) -> None:
        """Bring the running server's database back to the template's content."""
        with (
            closing(sqlite3.connect(self.template)) as source,
            closing(sqlite3.connect(self.database, timeout=30)) as target,
        ):
            source.backup(target)


@pytest.fixture(params=["sqlite", pytest.param("rest", marks=pytest.mark.slow)])
def registry(
    request: pytest.FixtureRequest,
    template: Path,
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Registry:
    """A registry as the template's, whose artifacts it names."""
    if request.param == "rest":
        server: RestServer = request.getfixturevalue("server")
        server.reset()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    else:
        shutil.copy(template / "mlflow.db", in_folder)
    return Registry(mlflow_server.connect(), NAME, no_lease)


@pytest.fixture
def client(registry: Registry) -> "MlflowClient":
    return registry.client


def roll_back(registry: Registry, to: str | int = "previous", *, force: bool = False) -> Entry:
    return set_champion(
        registry, to, action="rolled back", reason="because", by="tester", force=force
    )


def test_a_deleted_champion_is_recorded_and_rolled_back_from(
    registry: Registry, client: "MlflowClient"
) -> None:
    client.delete_model_version(NAME, "2")
    last = settle(registry).entries[-1]
    assert (last.action, last.champion_before, last.champion) == ("moved outside", 2, None)
    assert last.reason == "version 2, the champion, was deleted"
    assert find_aliases(client, NAME) == {"previous": 1}
    assert roll_back(registry).champion == 1


def test_a_deleted_previous_version_is_replaced_by_one_that_is_named(
    registry: Registry, client: "MlflowClient", template: Path
) -> None:
    third = register_folder(client, NAME, template / "model_0.02")
    set_champion(registry, third, action="promoted", reason="good", by="tester")
    client.delete_model_version(NAME, "2")
    with pytest.raises(PromotionError, match=r"has no alias previous; .* version 1: name one with"):
        roll_back(registry)
    assert roll_back(registry, 1).champion == 1


def test_a_removed_alias_is_recorded_and_the_champion_returns_by_rollback(
    registry: Registry, client: "MlflowClient"
) -> None:
    client.delete_registered_model_alias(NAME, "champion")
    assert settle(registry).champion is None
    assert find_aliases(client, NAME) == {"previous": 2}
    assert roll_back(registry).champion == 2


def test_a_model_registered_anew_begins_a_new_history(
    registry: Registry, client: "MlflowClient", template: Path
) -> None:
    client.delete_registered_model(NAME)
    assert settle(registry).entries == []
    assert register_folder(client, NAME, template / "model_0.1") == 1
    standing = settle(registry)
    assert (standing.champion, standing.entries) == (None, [])
    with pytest.raises(
        PromotionError, match=r"version 1 never was champion \(earlier ones: none\)"
    ):
        roll_back(registry, 1)
    entry = set_champion(registry, 1, action="promoted", reason="good", by="tester")
    assert entry.sequence == 3
    standing = read_standing(registry)
    assert [each.sequence for each in standing.entries] == [3]
    table = format_table(standing.all_entries, is_current=standing.is_current).splitlines()
    assert ["(of an earlier model)" in line for line in table[1:]] == [True, True, False]


def test_an_intent_about_a_deleted_model_is_given_up(
    registry: Registry, client: "MlflowClient", template: Path
) -> None:
    last = read_standing(registry).entries[-1]
    ledger.append_intent(client, NAME, last)
    client.delete_registered_model(NAME)
    register_folder(client, NAME, template / "model_0.1")
    assert settle(registry).is_settled
    assert [entry.state for entry in ledger.read_entries(client, NAME)] == [
        "done",
        "done",
        "undone",
    ]
    assert find_aliases(client, NAME) == {}


def test_rows_of_earlier_releases_belong_to_the_model_that_existed_then(
    registry: Registry, client: "MlflowClient", template: Path
) -> None:
    for entry in ledger.read_entries(client, NAME):
        client.delete_tag(entry.row_id, "decision.model_created_ms")
    assert read_standing(registry).recorded_champion == 2
    client.delete_registered_model(NAME)
    register_folder(client, NAME, template / "model_0.1")
    assert read_standing(registry).recorded_champion is None


def test_a_deleted_ledger_is_named_with_the_command_that_restores_it(
    registry: Registry, client: "MlflowClient"
) -> None:
    experiment = client.get_experiment_by_name(ledger.experiment_name(NAME))
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    command = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
    with pytest.raises(TrackingError, match=command):
        settle(registry)
    client.restore_experiment(experiment.experiment_id)
    assert settle(registry).champion == 2


def test_a_champion_chosen_by_hand_is_recorded_and_rolled_back_from(
    registry: Registry, client: "MlflowClient"
) -> None:
    client.set_registered_model_alias(NAME, "champion", "1")
    last = settle(registry).entries[-1]
    assert (last.action, last.champion_before, last.champion) == ("moved outside", 2, 1)
    assert find_aliases(client, NAME) == {"champion": 1, "previous": 2}
    assert roll_back(registry).champion == 2


def test_a_renamed_model_has_no_history_until_it_has_its_name_again(
    registry: Registry, client: "MlflowClient"
) -> None:
    client.rename_registered_model(NAME, "old")
    standing = settle(registry)
    assert (standing.champion, standing.entries) == (None, [])
    with pytest.raises(PromotionError, match=r"has no alias previous; it has no versions"):
        roll_back(registry)
    client.rename_registered_model("old", NAME)
    assert settle(registry).champion == 2
    assert roll_back(registry).champion == 1


def test_deleted_runs_of_versions_leave_them_usable(
    registry: Registry, client: "MlflowClient"
) -> None:
    for version in ("1", "2"):
        run_id = client.get_model_version(NAME, version).run_id
        assert run_id is not None
        client.delete_run(run_id)
    assert settle(registry).champion == 2
    assert roll_back(registry).champion == 1


def test_a_deleted_run_of_the_ledger_is_one_entry_less(
    registry: Registry, client: "MlflowClient"
) -> None:
    first, last = ledger.read_entries(client, NAME)
    client.delete_run(last.row_id)
    standing = settle(registry)  # the ledger now says that 1 is champion
    moved = standing.entries[-1]
    assert (moved.action, moved.champion_before, moved.champion) == ("moved outside", 1, 2)
    assert [entry.row_id for entry in standing.entries] == [first.row_id, moved.row_id]
    assert roll_back(registry).champion == 1


def test_a_version_that_never_was_champion_needs_force(
    registry: Registry, client: "MlflowClient", template: Path
) -> None:
    third = register_folder(client, NAME, template / "model_0.02")
    with pytest.raises(PromotionError, match=r"3 never was champion \(earlier ones: 1\); --force"):
        roll_back(registry, third)
    assert find_aliases(client, NAME) == {"champion": 2, "previous": 1}
    entry = roll_back(registry, third, force=True)
    assert entry.reason == "forced, it never was champion: because"
    assert roll_back(registry, 1).reason == "because"
