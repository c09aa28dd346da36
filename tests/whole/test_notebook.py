"""The notebook for Kaggle's GPU, cell by cell, at a small size; its model is registered at home."""

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pipeline_steps.download.sample import write_sample
from tests.pipeline_steps.download.kaggle_server import KEY, USERNAME, KaggleServer, exclusive_port
from tests.whole.clone import REPOSITORY, SMALL, Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NOTEBOOK = REPOSITORY / "notebooks" / "kaggle.ipynb"
SETTINGS = {
    **{f"prepare.{key}": value for key, value in SMALL["prepare"].items()},
    **{f"train.{key}": value for key, value in SMALL["train"].items()},
    "train.epochs": 1,
    "train.batch_size": 4,
    "evaluate.grid_pairs": 2,
}


def read_cells() -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def link_environment(folder: Path) -> None:
    """An environment as ``make setup`` leaves it, without installing anything."""
    folder.mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / ".setup-auto").touch()


@pytest.fixture
def kaggle_home(tmp_path: Path) -> Iterator[None]:
    """Credentials for the loopback server; nothing of this machine's own."""
    with mock.patch.dict(os.environ):  # cells change it too
        for name in [name for name in os.environ if name.startswith(("KAGGLE", "MLFLOW", "DVC"))]:
            del os.environ[name]
        os.environ |= {
            "HOME": str(tmp_path),
            "KAGGLE_CONFIG_DIR": str(tmp_path / ".kaggle"),
            "KAGGLE_API_ENVIRONMENT": "TEST",
            "KAGGLE_USERNAME": USERNAME,
            "KAGGLE_KEY": KEY,
            "NO_PROXY": "localhost,127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        yield


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A small set of the Kaggle set's layout."""
    path = tmp_path / "pairs.zip"
    write_sample(path, train_pairs=24, test_pairs=6, seed=1)
    return path


def test_the_notebook_holds_no_outputs() -> None:
    assert {(cell["execution_count"], len(cell["outputs"])) for cell in read_cells()} == {(None, 0)}


@pytest.mark.parametrize("is_mounted", [True, False], ids=["mounted", "downloaded"])
def test_the_notebooks_cells_train_a_model_that_is_registered_at_home(
    tmp_path: Path,
    pairs: Path,
    kaggle_home: None,
    capsys: pytest.CaptureFixture[str],
    is_mounted: bool,
) -> None:
    home = make_small_clone(tmp_path / "home")
    inputs, output = tmp_path / "input", tmp_path / "working"
    inputs.mkdir()
    if is_mounted:
        with zipfile.ZipFile(pairs) as archive:
            archive.extractall(inputs / "anime-sketch-colorization-pair")
    namespace: dict[str, Any] = {}
    with nullcontext() if is_mounted else exclusive_port():
        with nullcontext() if is_mounted else KaggleServer(pairs.read_bytes()) as server:
            for cell in read_cells():
                exec("".join(cell["source"]), namespace)
                tags = cell["metadata"].get("tags", ())
                if "parameters" in tags:  # as papermill does
                    namespace |= {
                        "REPOSITORY": str(home.folder),
                        "SETTINGS": " ".join(f"{key}={value}" for key, value in SETTINGS.items()),
                        "INPUT": str(inputs),
                        "CLONE": str(tmp_path / "clone"),
                        "OUTPUT": str(output),
                    }
                elif "clone" in tags:
                    link_environment(tmp_path / "clone" / ".venv")
        if server:
            assert len(server.storage_calls) == 1
    assert "beats" in capsys.readouterr().out  # the summary
    assert {path.name for path in output.iterdir()} == {"checkpoints", "colorizer.zip"}
    assert any((output / "checkpoints").glob("*/finished"))

    told, registered = home.run(
        "make", "register", f"FROM={output / 'colorizer.zip'}", f"VENV={link(home)}"
    ).stdout.splitlines()
    commit = home.run("git", "rev-parse", "HEAD").stdout.strip()
    assert f"32 px, best epoch 1 of 1, code {commit[:12]}" in told
    assert registered == "register: sketch-colorizer is now version 1, alias candidate"
    (version,) = home.versions()
    assert version["tags"]["git_commit"] == commit
    assert version["tags"]["colorizer.imported_from"].startswith("colorizer.zip: training ")
    with zipfile.ZipFile(output / "colorizer.zip") as archive:
        config = json.load(io.BytesIO(archive.read("colorizer/config.json")))
    assert float(version["tags"]["generator.l1"]) == config["evaluation"]["generator"]["l1"]


def link(home: Clone) -> str:
    link_environment(home.folder / ".venv")
    return ".venv"
