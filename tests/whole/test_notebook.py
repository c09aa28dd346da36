"""The notebook for Kaggle's GPU, cell by cell, at a small size; its model is registered at home."""

import json
import os
import sys
import zipfile
from collections.abc import Iterator
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
def home(tmp_path: Path) -> Clone:
    return make_small_clone(tmp_path / "home")


def run_cells(home: Clone, tmp_path: Path, *, until: str) -> None:
    """Run the cells up to one with this tag; as papermill, set parameters after their cell."""
    namespace: dict[str, Any] = {}
    for cell in read_cells():
        exec("".join(cell["source"]), namespace)
        tags = cell["metadata"].get("tags", ())
        if "parameters" in tags:
            namespace |= {
                "REPOSITORY": str(home.folder),
                "SETTINGS": " ".join(f"{key}={value}" for key, value in SETTINGS.items()),
                "INPUT": str(tmp_path / "input"),
                "CLONE": str(tmp_path / "clone"),
                "OUTPUT": str(tmp_path / "working"),
            }
        elif "clone" in tags:
            link_environment(tmp_path / "clone" / ".venv")
        if until in tags:
            return


def test_the_notebook_holds_no_outputs() -> None:
    assert {(cell["execution_count"], len(cell["outputs"])) for cell in read_cells()} == {(None, 0)}


def test_a_mounted_set_is_trained_on_without_a_download(
    tmp_path: Path, home: Clone, kaggle_home: None
) -> None:
    """With a make that writes its arguments instead."""
    mounted = tmp_path / "input" / "datasets" / "anime-sketch-colorization-pair"
    mounted.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    make = tmp_path / "bin" / "make"
    make.write_text(f"#!/bin/sh\nfor each; do echo \"$each\"; done >> '{tmp_path}/arguments'\n")
    make.chmod(0o755)
    os.environ["PATH"] = f"{make.parent}{os.pathsep}{os.environ['PATH']}"
    run_cells(home, tmp_path, until="train")
    *_, target, pairs, params, settings = (tmp_path / "arguments").read_text().splitlines()
    assert (target, pairs) == ("archive", f"PAIRS={mounted}")
    assert params == "PARAMS=params/kaggle.yaml"
    assert settings.startswith("SET=prepare.image_size=32 ")


def test_the_notebooks_cells_train_a_model_that_is_registered_at_home(
    tmp_path: Path, home: Clone, kaggle_home: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.zip"
    write_sample(pairs, train_pairs=24, test_pairs=6, seed=1)
    with exclusive_port(), KaggleServer(pairs.read_bytes()) as server:
        run_cells(home, tmp_path, until="the last one")
    assert len(server.storage_calls) == 1
    assert "beats" in capsys.readouterr().out  # the summary
    output = tmp_path / "working"
    assert {path.name for path in output.iterdir()} == {"checkpoints", "colorizer.zip"}
    assert any((output / "checkpoints").glob("*/finished"))

    link_environment(home.folder / ".venv")
    told, registered = home.run(
        "make", "register", f"FROM={output / 'colorizer.zip'}"
    ).stdout.splitlines()
    commit = home.run("git", "rev-parse", "HEAD").stdout.strip()
    assert f"32 px, best epoch 1 of 1, code {commit[:12]}" in told
    assert registered == "register: sketch-colorizer is now version 1, alias candidate"
    (version,) = home.versions()
    assert version["tags"]["git_commit"] == commit
    assert version["tags"]["colorizer.imported_from"].startswith("colorizer.zip: training ")
    with zipfile.ZipFile(output / "colorizer.zip") as archive:
        config = json.loads(archive.read("colorizer/config.json"))
    assert float(version["tags"]["generator.l1"]) == config["evaluation"]["generator"]["l1"]
