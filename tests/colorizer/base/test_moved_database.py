"""The checkout is renamed, moved or copied: the registry's addresses of files follow it."""

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.base.moved_database import follow_folder
from colorizer.model.registry import fetch_model
from flows.errors import PromotionError
from flows.promotion.versions import open_version
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server, runs
from tests.flows.tiny_model import TRUE_GAINS, make_folder, register_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
CHAMPION = "models:/tiny@champion"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry: a champion, a run with a file, and an experiment elsewhere."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = mlflow_server.connect()
        runs.experiment_id(client, "tiny")
        register_folder(client, "tiny", make_folder(folder / "model", TRUE_GAINS))
        client.set_registered_model_alias("tiny", "champion", "1")
    return folder


class Checkout:
    """The folder that commands are run in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch

    def start(self, folder: Path) -> None:
        """As a new process in the folder that it now is."""
        from mlflow.tracking._tracking_service import utils

        self.folder = folder
        self._monkeypatch.chdir(folder)
        # which MLflow sets along with its own variable
        self._monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        self._monkeypatch.setattr(utils, "_tracking_uri", None)

    def connect(self, folder: Path) -> "MlflowClient":
        """As a new process of the pipeline's."""
        self.start(folder)
        return mlflow_server.connect()


@pytest.fixture
def checkout(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A copy of the template at a path of its own, whose addresses name it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("COLORIZER_CACHE", str(tmp_path / "cache"))
    shutil.copytree(template, tmp_path / "checkout")
    follow_folder(tmp_path / "checkout" / "mlflow.db")
    checkout = Checkout(tmp_path / "checkout", monkeypatch)
    checkout.start(checkout.folder)
    return checkout


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def addresses(database: Path) -> set[str]:
    columns = [
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("model_versions", "storage_location"),
    ]
    with sqlite3.connect(database) as connection:
        return {row[0] for t, c in columns for row in connection.execute(f"select {c} from {t}")}


@pytest.mark.parametrize("name", ["renamed", "with a space, 50% ü#", "parent/deep/checkout"])
def test_a_renamed_checkout_colours_and_logs_in_its_new_folder(
    checkout: Checkout, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = checkout.folder, tmp_path / name
    new.parent.mkdir(parents=True, exist_ok=True)
    old.rename(new)
    capsys.readouterr()
    client = checkout.connect(new)
    line = capsys.readouterr().err
    assert line.startswith(f"{new}/mlflow.db: was in {old}; ")
    assert line.endswith(f" addresses of files now name {new}\n")
    assert line.count("\n") == 1
    with open_version("tiny", 1) as model:
        assert model.model.image_size == 32
    made = client.create_run(runs.experiment_id(client, "tiny"))
    client.log_text(made.info.run_id, "text", "file.txt")
    assert (new / "mlruns" / made.info.run_id / "artifacts" / "file.txt").exists()
    assert not old.exists()
    checkout.connect(checkout.folder)
    assert capsys.readouterr().err == ""


def test_colorize_follows_a_renamed_checkout_by_itself(
    checkout: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = checkout.folder.rename(tmp_path / "a new name")
    checkout.start(new)
    capsys.readouterr()
    assert fetch_model(CHAMPION).version == 1
    assert "addresses of files now name" in capsys.readouterr().err


def test_a_copy_never_writes_to_the_original(checkout: Checkout, tmp_path: Path) -> None:
    original, copy = checkout.folder, tmp_path / "copy"
    shutil.copytree(original, copy)
    before = files_below(original)
    client = checkout.connect(copy)
    (run,) = client.search_runs([runs.experiment_id(client, "tiny")])
    client.log_text(run.info.run_id, "text", "file.txt")
    with open_version("tiny", 1):
        pass
    assert files_below(original) == before
    assert (copy / "mlruns" / run.info.run_id / "artifacts" / "file.txt").exists()
    assert str(original) not in " ".join(addresses(copy / "mlflow.db") - {default(original)})


def default(checkout: Path) -> str:
    """The location of MLflow's default experiment, which nothing is logged to."""
    return str(checkout / "mlruns" / "0")


def test_what_lies_elsewhere_on_purpose_keeps_its_address(
    checkout: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = checkout.connect(checkout.folder)
    elsewhere = (tmp_path / "disk" / "mlruns").as_uri()
    run = client.create_run(client.create_experiment("elsewhere", artifact_location=elsewhere))
    client.log_text(run.info.run_id, "text", "file.txt")
    capsys.readouterr()
    checkout.folder.rename(tmp_path / "renamed")
    client = checkout.connect(tmp_path / "renamed")
    assert (
        client.get_run(run.info.run_id).info.artifact_uri
        == f"{elsewhere}/{run.info.run_id}/artifacts"
    )
    assert str(tmp_path / "disk") not in capsys.readouterr().err


def test_a_copied_database_reads_files_that_are_only_with_the_original(
    checkout: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(checkout.folder / "mlflow.db", tmp_path / "alone")
    checkout.connect(tmp_path / "alone")
    with open_version("tiny", 1):
        pass


def test_addresses_are_rewritten_all_or_none(checkout: Checkout, tmp_path: Path) -> None:
    new = checkout.folder.rename(tmp_path / "renamed")
    database = new / "mlflow.db"
    before = addresses(database)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "create trigger stop before update on model_versions"
            " begin select raise(abort, 'attempt to write'); end"
        )
    with pytest.raises(TrackingError, match=r"was moved here.*\(attempt to write\); make it wri"):
        checkout.connect(new)
    with pytest.raises(ModelFolderError, match="was moved here"):
        follow_folder(database)
    assert addresses(database) == before


def test_lost_files_are_reported_as_lost(checkout: Checkout) -> None:
    shutil.rmtree(checkout.folder / "mlruns")
    lost = r"tiny version 1: its files are gone from file:.*/mlruns/models/.*`make register`"
    with pytest.raises(ModelFolderError, match=lost) as error:
        fetch_model(CHAMPION)
    assert "no answer" not in str(error.value)
    with pytest.raises(PromotionError, match=lost), open_version("tiny", 1):
        pass


def test_an_unusable_local_registry_is_not_called_unreachable(checkout: Checkout) -> None:
    (checkout.folder / "mlflow.db").write_text("this is no database" * 100)
    checkout.start(checkout.folder)
    with pytest.raises(ModelFolderError, match="file is not a database") as error:
        fetch_model(CHAMPION)
    assert "no answer" not in str(error.value)
