"""A minimal model: one 1×1 convolution as ONNX, in a real exported folder."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

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
    HINTS_AS_POINTS,
    HINTS_NAME,
    INPUT_NAME,
    ONNX_FILE,
    OUTPUT_NAME,
    WEIGHTS_FILE,
    compute_checksums,
    open_model_folder,
)
from pipeline_steps.pairs.packed import UInt8Array, pack, write_pairs
from pipeline_steps.register.command import log_model
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPOSITORY = Path(__file__).parents[2]
SIZE = 32
TRUE_GAINS = (0.2, 0.5, 0.9)
"""The colour of a test pair is its sketch times these gains (RGB)."""


def make_folder(
    folder: Path, gains: Sequence[float], *, bias: float = 0.0, hints: bool = False
) -> Path:
    """An exported folder whose model computes ``gain · sketch + bias`` for each channel.

    With ``hints``, which are an input, it ignores them.
    """
    folder.mkdir(parents=True)
    sketch: list[str | int | None] = ["batch", 1, SIZE, SIZE]
    colour: list[str | int | None] = ["batch", 3, SIZE, SIZE]
    inputs = [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, sketch)]
    if hints:
        shape: list[str | int | None] = ["batch", 4, SIZE, SIZE]
        inputs.append(helper.make_tensor_value_info(HINTS_NAME, TensorProto.FLOAT, shape))
    graph = helper.make_graph(
        [helper.make_node("Conv", [INPUT_NAME, "w", "b"], [OUTPUT_NAME])],
        "tiny",
        inputs,
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
    config: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "preprocessing": {"image_size": SIZE},
    }
    if hints:
        config["hints"] = HINTS_AS_POINTS
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


def write_flat_test_set(prepared: Path, num_pairs: int = 24) -> Path:
    """Test pairs of two flat boxes, coloured by :data:`TRUE_GAINS`, and a grey mean picture."""
    random = np.random.default_rng(1)
    rows = []
    for _ in range(num_pairs):
        sketch = np.full((SIZE, SIZE), 255, np.uint8)
        for left in (1, 17):
            sketch[2:30, left : left + 14] = 0
            sketch[3:29, left + 1 : left + 13] = random.integers(200, 256)
        rows.append(_coloured(sketch))
    return _write(prepared, rows)


def write_test_set(prepared: Path, num_pairs: int = 24, *, seed: int = 1) -> Path:
    """Test pairs of noise, coloured by :data:`TRUE_GAINS`, and a grey mean training picture."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(num_pairs):
        rows.append(_coloured(random.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)))
    return _write(prepared, rows)


def _coloured(sketch: UInt8Array) -> UInt8Array:
    values = (sketch / 127.5 - 1)[..., None] * np.array(TRUE_GAINS)
    return pack(((values + 1) * 127.5).round().astype(np.uint8), sketch)


def _write(prepared: Path, rows: Sequence[UInt8Array]) -> Path:
    write_pairs(prepared / "test.npy", rows, num_pairs=len(rows), image_size=SIZE)
    np.save(prepared / "train_mean.npy", np.full((SIZE, SIZE, 3), 128, np.uint8))
    return prepared
