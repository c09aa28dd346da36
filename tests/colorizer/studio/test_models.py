"""Which model is served: aliases are followed, broken models refused, cached ones used offline."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.model import registry
from colorizer.studio.models import Models, choose_sources
from tests.flows.tiny_model import TRUE_GAINS, make_folder, register_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient


def label(models: Models, name: str | None = None) -> str:
    served = models.get(name)
    assert served
    return served.label


def test_the_champion_is_followed_and_other_aliases_are_offered(client: "MlflowClient") -> None:
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()
    assert list(models.names) == ["champion"]
    assert "no alias candidate" in models.load_errors["candidate"]
    client.set_registered_model_alias("tiny", "candidate", "2")
    models.refresh()
    assert list(models.names) == ["champion", "candidate"]
    assert (label(models), label(models, "candidate")) == ("tiny version 1", "tiny version 2")
    client.set_registered_model_alias("tiny", "champion", "2")
    models.refresh()
    assert label(models) == "tiny version 2"


def test_a_broken_champion_is_refused_and_the_old_one_stays(
    client: "MlflowClient", in_folder: Path
) -> None:
    out_of_range = make_folder(in_folder / "broken", TRUE_GAINS, bias=5.0)
    assert register_folder(client, "tiny", out_of_range) == 3
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()
    client.set_registered_model_alias("tiny", "champion", "3")
    models.refresh()
    assert label(models) == "tiny version 1"
    assert "the output is not finite or outside −1..1" in models.load_errors["champion"]
    client.set_registered_model_alias("tiny", "champion", "2")
    models.refresh()
    assert label(models) == "tiny version 2"
    assert "champion" not in models.load_errors


def test_without_the_registry_the_last_version_is_served_and_marked_stale(
    client: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(choose_sources("models:/tiny@champion"))
    models.refresh()

    def unreachable(*_: object) -> None:
        raise registry._unreachable()

    monkeypatch.setattr(registry, "_find_version", unreachable)
    models.refresh()
    served = models.get()
    assert served
    assert served.describe()["is_stale"] is True
    restarted = Models(choose_sources("models:/tiny@champion"))
    restarted.refresh()
    assert restarted.names == ("champion",)


def test_a_folder_or_version_is_the_only_model_offered() -> None:
    assert choose_sources("models/colorizer") == {"colorizer": "models/colorizer"}
    assert choose_sources(".") == {Path.cwd().name: "."}
    assert choose_sources("models:/tiny/7") == {"tiny": "models:/tiny/7"}
    with pytest.raises(ModelFolderError, match="must be models:/NAME@ALIAS"):
        choose_sources("models:/tiny")
