"""What people do to a registry in MLflow's UI is recorded, and is no dead end."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "sketch-colorizer"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with versions 1 and 2, of which first 1 and then 2 was made champion."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make_registry(folder, NAME)
        registry = Registry(mlflow_server.connect(), NAME, no_lease)
        for version in (1, 2):
            set_champion(registry, version, action="promoted", reason="good", by="tester")
    return folder


@pytest.fixture
def registry(template: Path, in_folder: Path) -> Registry:
    """A copy of the template's database; it names the template's artifacts."""
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
    assert ["(of a deleted model)" in line for line in table[1:]] == [True, True, False]


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
