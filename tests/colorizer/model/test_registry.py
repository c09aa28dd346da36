"""Models from a real registry (SQLite), and without it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256
from colorizer.model import registry
from colorizer.model.folder import CONFIG_FILE, ONNX_FILE
from colorizer.model.registry import fetch_model
from colorizer.runtime import Colorizer
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient


def test_an_alias_is_fetched_and_followed(client: "MlflowClient", in_folder: Path) -> None:
    first = fetch_model("models:/tiny@champion")
    assert (first.version, first.is_stale) == (1, False)
    for name in (ONNX_FILE, CONFIG_FILE):
        assert file_sha256(first.folder / name) == file_sha256(in_folder / "model_0.1" / name)
    client.set_registered_model_alias("tiny", "champion", "2")
    assert fetch_model("models:/tiny@champion").version == 2
    assert fetch_model("models:/tiny/1").folder == first.folder
    assert Colorizer.load("models:/tiny@champion").model.image_size == 32


def test_a_model_is_fetched_from_a_renamed_checkout(
    client: "MlflowClient", in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = in_folder.with_name("renamed, with a space")
    in_folder.rename(renamed)
    monkeypatch.chdir(renamed)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which MLflow sets itself
    mlflow_server.connect()
    monkeypatch.setenv("COLORIZER_CACHE", str(renamed / "cache"))
    assert fetch_model("models:/tiny@champion").version == 1
    shutil.rmtree(renamed / "mlruns")
    with pytest.raises(ModelFolderError, match=r"version 2: its files are gone from .*/mlruns/"):
        fetch_model("models:/tiny/2")


@pytest.fixture
def unreachable_registry(client: "MlflowClient", monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry at an address where no server listens."""
    import mlflow

    uri = "http://someone:secret@127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("unreachable_registry")
def test_an_unreachable_registry_is_reported_without_its_password() -> None:
    with pytest.raises(
        ModelFolderError, match=r"no answer from the registry at http://127\.0\.0\.1:9 "
    ) as error:
        fetch_model("models:/tiny@champion")
    assert "secret" not in str(error.value)


def test_without_the_registry_the_version_fetched_last_is_used(
    client: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object) -> None:
        raise registry._unreachable()

    first = fetch_model("models:/tiny@champion")
    monkeypatch.setattr(registry, "_find_version", unreachable)
    again = fetch_model("models:/tiny@champion")
    assert (again.folder, again.version, again.is_stale) == (first.folder, 1, True)
    assert "using version 1, fetched before" in capsys.readouterr().err


def test_a_missing_registry_is_reported_and_not_created(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colorizer", "-", "-o", "-", "--model", "models:/tiny@champion"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
        | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: no registry: {tmp_path}/mlflow.db doesn't exist")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_cached_copy_is_downloaded_again(client: "MlflowClient") -> None:
    folder = fetch_model("models:/tiny@champion").folder
    original = (folder / ONNX_FILE).read_bytes()
    (folder / ONNX_FILE).write_bytes(original[:-1] + b"x")
    assert (fetch_model("models:/tiny@champion").folder / ONNX_FILE).read_bytes() == original


@pytest.mark.parametrize(
    "uri", ["models:/tiny@nobody", "models:/other/9", "models:/other@champion"]
)
def test_a_missing_version_is_reported_with_how_to_make_one(
    client: "MlflowClient", uri: str
) -> None:
    with pytest.raises(ModelFolderError, match="`make promote` makes it champion"):
        fetch_model(uri)


def test_a_missing_number_is_reported_with_those_that_exist(
    client: "MlflowClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFolderError, match=r"tiny has no version 9 at .*: it has 2, 1$"):
        fetch_model("models:/tiny/9")
    monkeypatch.setattr(registry, "MAX_LISTED_VERSIONS", 1)
    with pytest.raises(ModelFolderError, match=r"it has 2, …$"):
        fetch_model("models:/tiny/9")


@pytest.mark.parametrize("uri", ["models:/", "models:/tiny", "models:/tiny@", "models:/tiny/x"])
def test_a_malformed_address_is_refused(uri: str) -> None:
    with pytest.raises(ModelFolderError, match="must be models:/NAME@ALIAS"):
        fetch_model(uri)
