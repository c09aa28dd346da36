"""A minimal model: one 1×1 convolution as ONNX, in a real exported folder."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from colorizer.base.files import file_sha256
from colorizer.model.folder import (
    CARD_FILE,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    GRID_FILE,
    INPUT_NAME,
    ONNX_FILE,
    OUTPUT_NAME,
    WEIGHTS_FILE,
    compute_checksums,
    open_model_folder,
)
from pipeline_steps.pairs.packed import pack, write_pairs
from pipeline_steps.register.command import log_model
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPOSITORY = Path(__file__).parents[2]
SIZE = 32
TRUE_GAINS = (0.2, 0.5, 0.9)
"""The colour of a test pair is its sketch times these gains (RGB)."""


def make_folder(folder: Path, gains: Sequence[float], *, bias: float = 0.0) -> Path:
    """An exported folder whose model computes ``gain · sketch + bias`` for each channel."""
    folder.mkdir(parents=True)
    sketch: list[str | int | None] = ["batch", 1, SIZE, SIZE]
    colour: list[str | int | None] = ["batch", 3, SIZE, SIZE]
    graph = helper.make_graph(
        [helper.make_node("Conv", [INPUT_NAME, "w", "b"], [OUTPUT_NAME])],
        "tiny",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, sketch)],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, colour)],
        [
            numpy_helper.from_array(np.array(gains, np.float32).reshape(3, 1, 1, 1), "w"),
            numpy_helper.from_array(np.full(3, bias, np.float32), "b"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save_model(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / ONNX_FILE)
    for name in (WEIGHTS_FILE, CARD_FILE, GRID_FILE):
        (folder / name).write_text(name)
    config = {"format_version": FORMAT_VERSION, "preprocessing": {"image_size": SIZE}}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    (folder / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(folder)))
    return folder


def register_folder(client: "MlflowClient", name: str, folder: Path) -> int:
    """Register an exported folder as export does; return the version's number."""
    import mlflow

    experiment = client.get_experiment_by_name("tiny")
    experiment_id = experiment.experiment_id if experiment else client.create_experiment("tiny")
    with mlflow.start_run(experiment_id=experiment_id, log_system_metrics=False):
        uri = log_model(open_model_folder(folder))
    tags = {
        "model_sha256": file_sha256(folder / ONNX_FILE),
        "config_sha256": file_sha256(folder / CONFIG_FILE),
        "git_commit": "c0ffee",
    }
    return int(mlflow.register_model(uri, name, tags=tags).version)


def make_registry(folder: Path, name: str) -> Path:
    """The params, test pairs, and a registry (SQLite) of two models, the second better."""
    shutil.copy(REPOSITORY / "params.yaml", folder)
    write_test_set(folder / "data" / "prepared")
    client = mlflow_server.connect()
    for off in (0.1, 0.02):
        made = make_folder(folder / f"model_{off}", [gain + off for gain in TRUE_GAINS])
        register_folder(client, name, made)
    return folder


def no_lease(name: str, timeout_s: float) -> Never:
    """For a :class:`Registry` of one machine: the lease that must not be asked for."""
    raise AssertionError("an SQLite registry needs no lease")


def write_test_set(prepared: Path, num_pairs: int = 24, *, seed: int = 1) -> Path:
    """Test pairs of noise, coloured by :data:`TRUE_GAINS`, and a grey mean training picture."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(num_pairs):
        sketch = random.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        values = (sketch / 127.5 - 1)[..., None] * np.array(TRUE_GAINS)
        rows.append(pack(((values + 1) * 127.5).round().astype(np.uint8), sketch))
    write_pairs(prepared / "test.npy", rows, num_pairs=num_pairs, image_size=SIZE)
    np.save(prepared / "train_mean.npy", np.full((SIZE, SIZE, 3), 128, np.uint8))
    return prepared
