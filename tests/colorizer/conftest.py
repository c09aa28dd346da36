"""A small exported generator with random weights, and a registry of two tiny models."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch

from colorizer import cli
from colorizer.model.folder import (
    CARD_FILE,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    GRID_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    compute_checksums,
)
from colorizer.runtime import Colorizer
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry
from tests.pipeline_steps.hints.few_steps import few_flow_steps
from tests.shared import make_once

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "model", export_model)


@pytest.fixture(scope="session")
def hint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes hints, whose colours flow a few steps only."""

    def make(folder: Path) -> None:
        with few_flow_steps():
            export_model(folder, hints="points")

    return make_once(tmp_path_factory, "model_with_hints", make)


def export_model(folder: Path, *, hints: str = "none") -> None:
    from pipeline_steps.export.onnx_export import export_onnx
    from pipeline_steps.networks.generator import Generator, GeneratorArchitecture

    torch.manual_seed(3)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4, hints=hints))
    with torch.no_grad():
        for weights in generator.parameters():
            weights.mul_(5)  # so that noise is visible in 8 bits
    export_onnx(generator, folder / ONNX_FILE)
    for name in (WEIGHTS_FILE, CARD_FILE, GRID_FILE):
        (folder / name).write_text(name)
    config = {
        "format_version": FORMAT_VERSION,
        "preprocessing": {"image_size": 32},
        "noise": {"dropout": 0.5, "shapes": [list(shape) for shape in generator.noise_shapes]},
    }
    if hints != "none":
        config |= {"hints": hints, "hint_barriers": True}  # earlier versions' folders have neither
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    (folder / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(folder)))


@pytest.fixture(scope="session")
def colorizer(model_folder: Path) -> Colorizer:
    return Colorizer.load(model_folder)


def copy_as_toy(model: Path, folder: Path) -> Path:
    """Copy a model folder to one that says it was trained on the drawn sample."""
    shutil.copytree(model, folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["data"] = {"source": {"source": "sample", "origin": "drawn by this project"}}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    (folder / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(folder)))
    return folder


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run ``colorize`` in this process."""

    def run(*arguments: object, model: Path = model_folder) -> Ran:
        command = ["colorize", *map(str, arguments), "--model", str(model)]
        monkeypatch.setattr(sys, "argv", command)
        code = cli.main()
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def client(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    """A registry with ``tiny`` versions 1 (champion) and 2, and an empty model cache."""
    monkeypatch.setenv("COLORIZER_CACHE", str(in_folder / "cache"))
    make_registry(in_folder, "tiny")
    client = mlflow_server.connect()
    client.set_registered_model_alias("tiny", "champion", "1")
    return client
