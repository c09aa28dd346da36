"""Which model answers: aliases followed, broken ones refused, an absent registry made up for."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colorizer.model import registry
from colorizer.studio.models import Models, choose_sources
from tests.flows.tiny_model import TRUE_GAINS, make_folder, register_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient


def label(models: Models, name: str | None = None) -> str:
    served = models.get(name)
    assert served
    return served.label


def test_the_champion_is_followed_and_its_siblings_stand_beside_it(client: "MlflowClient") -> None:
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()
    assert list(models.names) == ["champion"]
    assert "no alias candidate" in models.complaints["candidate"]
    client.set_registered_model_alias("tiny", "candidate", "2")
    models.refresh()
    assert list(models.names) == ["champion", "candidate"]
    assert (label(models), label(models, "candidate")) == ("tiny version 1", "tiny version 2")
    client.set_registered_model_alias("tiny", "champion", "2")
    models.refresh()
    assert label(models) == "tiny version 2"


def test_a_broken_champion_is_refused_and_the_old_one_goes_on(
    client: "MlflowClient", in_folder: Path
) -> None:
    out_of_range = make_folder(in_folder / "broken", TRUE_GAINS, bias=5.0)
    assert register_folder(client, "tiny", out_of_range) == 3
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()
    client.set_registered_model_alias("tiny", "champion", "3")
    models.refresh()
    assert label(models) == "tiny version 1"
    assert "no colours" in models.complaints["champion"]
    client.set_registered_model_alias("tiny", "champion", "2")
    models.refresh()
    assert label(models) == "tiny version 2"
    assert "champion" not in models.complaints


def test_without_the_registry_the_last_known_goes_on_and_it_is_said(
    client: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()

    def away(*_: object) -> None:
        raise registry._unreachable()

    monkeypatch.setattr(registry, "_find", away)
    models.refresh()
    served = models.get()
    assert served
    assert served.describe()["is_stale"] is True
    begun_anew = Models(choose_sources("models:/tiny@champion"))
    begun_anew.refresh()
    assert begun_anew.names == ("champion",)


def test_a_folder_has_no_siblings() -> None:
    assert choose_sources("models/colorizer") == {"folder": "models/colorizer"}
    assert choose_sources("models:/tiny/7") == {"folder": "models:/tiny/7"}
