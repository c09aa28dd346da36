"""Fixtures of all tests: small params, packed pairs, databases, a working folder; their order."""

import dataclasses
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

# two torch processes with thread pools are ten times slower on the same cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from pipeline_steps.pairs.packed import PackedPairs, read_pairs, write_pairs
from pipeline_steps.params import Params, read_params
from pipeline_steps.tracking import embedded_database, mlflow_server
from tests.s3_servers import S3Server, moto_server
from tests.shared import make_once

REPOSITORY = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the longest time limit first, so that no worker ends long after the others."""

    def limit_s(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker else 0.0

    items.sort(key=limit_s, reverse=True)


@pytest.fixture(scope="session")
def params() -> Params:
    """The committed params with tiny networks and a short training, its second half adversarial."""
    real = read_params(REPOSITORY / "params.yaml")
    train = dataclasses.replace(
        real.train,
        epochs=2,
        batch_size=2,
        generator_width=4,
        discriminator_width=4,
        discriminator_layers=2,
        adversarial_start_fraction=0.5,
        load_size=36,
        sample_every_epochs=1,
        sample_pairs=2,
        checkpoint_interval_s=3600.0,
        device="auto" if "TEST_ON_GPU" in os.environ else "cpu",
    )
    return dataclasses.replace(real, train=train)


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., PackedPairs]:
    """Write a packed split of discs whose colour depends on the radius."""

    def make(name: str, num_pairs: int, image_size: int = 32) -> PackedPairs:
        path = tmp_path / f"{name}.npy"
        pairs = (draw_disc_pair(index, image_size) for index in range(num_pairs))
        write_pairs(path, pairs, num_pairs=num_pairs, image_size=image_size)
        return read_pairs(path)

    return make


def draw_disc_pair(index: int, image_size: int) -> np.ndarray:
    """A packed pair: a filled disc and its outline, S×S×4 ``uint8``."""
    y, x = np.mgrid[:image_size, :image_size] - image_size // 2
    radius = np.hypot(x, y)
    size = image_size * (0.2 + 0.05 * (index % 5))
    pair = np.full((image_size, image_size, 4), 255, np.uint8)
    pair[radius < size, :3] = (250, 40 * (index % 5), 30)
    pair[np.abs(radius - size) < 1.5] = 0
    return pair


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test in a new folder, without ``MLFLOW_TRACKING_URI``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with the empty bucket ``pairs``, which boto3 in this process uses."""
    with moto_server() as store:
        store.use(monkeypatch)
        yield store


@pytest.fixture(autouse=True)
def _new_databases_are_copies(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new MLflow database is a copy of one: its fifty migrations take seconds for each test.

    What creates one is tested where this fixture is overridden, and in commands that tests start.
    """

    def migrate(folder: Path) -> None:
        embedded_database.ensure_database(folder / embedded_database.FILE)

    def ensure_database(database: Path) -> None:
        if not database.exists():
            folder = make_once(tmp_path_factory, "empty_database", migrate)
            copy_empty_database(folder / embedded_database.FILE, database)
        embedded_database.ensure_database(database)

    monkeypatch.setattr(mlflow_server, "ensure_database", ensure_database)


def copy_empty_database(template: Path, database: Path) -> None:
    """Copy a database without runs to what MLflow would have created in the working folder."""
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, database)
    with closing(sqlite3.connect(database)) as connection:
        artifacts = f"{Path.cwd()}/mlruns/0"
        connection.execute("update experiments set artifact_location = ?", (artifacts,))
        connection.commit()
