"""Stage 5: the best generator → a self-contained folder that colours sketches without torch.

Reads  models/generator.safetensors, data/prepared/{test.npy,dataset.json},
       metrics/{training,evaluation}.json, reports/evaluate/random.png
Writes models/colorizer/ (see colorizer/model/folder.py)

The ONNX file is compared with torch on real test sketches; beyond a stated tolerance the export is
refused. Equal weights give equal bytes. Registering is a command of its own: ``register``.
"""

import dataclasses
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from colorizer.base.files import sync, write_json, write_text
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
    ModelFolder,
    compute_checksums,
    noise_name,
)
from colorizer.model.session import ModelSession
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import ExportError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import (
    DATASET,
    EVALUATION_METRICS,
    EXPORTED_MODEL,
    GENERATOR,
    RANDOM_GRID,
    TEST_PAIRS,
    TRAINING_METRICS,
)
from pipeline_steps.export.model_card import write_card
from pipeline_steps.networks.generator import Generator, load_generator
from pipeline_steps.pairs.packed import SKETCH, PackedPairs, read_pairs
from pipeline_steps.pairs.values import array_of
from pipeline_steps.params import Params, read_params

if TYPE_CHECKING:
    import onnx

SECTIONS = ("download", "prepare", "train")


def main() -> None:
    """Export the best generator."""
    params = read_params()
    generator = load_generator(GENERATOR)
    test_pairs = read_pairs(TEST_PAIRS)
    require_disk_space(EXPORTED_MODEL.parent, 2 * GENERATOR.stat().st_size, "the exported folder")

    partial = EXPORTED_MODEL.with_name(".colorizer.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    difference = write_folder(partial, params, generator, test_pairs)
    shutil.rmtree(EXPORTED_MODEL, ignore_errors=True)
    partial.rename(EXPORTED_MODEL)
    print(f"export: {EXPORTED_MODEL}, largest difference from torch {difference:.1e} (of 2)")
    print("register it: python -m pipeline_steps register (make repro does)")


def write_folder(
    folder: Path, params: Params, generator: Generator, test_pairs: PackedPairs
) -> float:
    """Write the exported folder; return the largest difference from torch, in −1..1 units.

    Raises :class:`ExportError` if that is more than ``export.max_onnx_difference``.
    """
    export_onnx(generator, folder / ONNX_FILE)
    shutil.copyfile(GENERATOR, folder / WEIGHTS_FILE)
    shutil.copyfile(RANDOM_GRID, folder / GRID_FILE)
    config = build_config(params, generator)
    difference = compare_with_torch(
        ModelFolder(folder, config), generator, test_pairs, num_pairs=params.export.check_pairs
    )
    require_small(difference, params.export.max_onnx_difference)
    write_json(folder / CONFIG_FILE, config)
    write_text(folder / CARD_FILE, write_card(config))
    for name in (ONNX_FILE, WEIGHTS_FILE, GRID_FILE):
        sync(folder / name)
    write_json(folder / CHECKSUMS_FILE, compute_checksums(folder))
    return difference


def export_onnx(generator: Generator, path: Path) -> None:
    """Write the generator, in evaluation mode, as one ONNX file that takes any batch.

    Dropout masks are inputs with a default of one, so that without them there is no dropout.
    """
    import onnx

    size = generator.architecture.image_size
    example = torch.zeros(2, 1, size, size)
    masks = tuple(torch.ones(2, *shape) for shape in generator.noise_shapes)
    names = [noise_name(number) for number in range(len(masks))]
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            generator.eval(),
            (example, *masks),
            dynamo=True,
            verbose=False,
            input_names=[INPUT_NAME, *names],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={"sketch": {0: batch}, "noise": tuple({0: batch} for _ in masks)},
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    model = program.model_proto
    strip_traces(model)
    make_optional(model, names)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def make_optional(model: "onnx.ModelProto", names: Sequence[str]) -> None:
    """Give these inputs a default of one, which any batch takes."""
    import onnx

    for value in model.graph.input:
        if value.name in names:
            for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
                dimension.dim_param = f"{value.name}_{axis}"
            one = np.ones((1, 1, 1, 1), np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(one, value.name))


def strip_traces(model: "onnx.ModelProto") -> None:
    """Remove stack traces: they name this machine's folders, so equal models would differ."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def compare_with_torch(
    model: ModelFolder, generator: Generator, pairs: PackedPairs, *, num_pairs: int
) -> float:
    """Largest |ONNX − torch| over the first test sketches, singly and batched; −1..1 units."""
    rows = pairs.pixels[:num_pairs]
    sketches = array_of(rows[..., SKETCH])
    session = ModelSession(model)
    with torch.inference_mode():
        expected = generator(torch.from_numpy(sketches)).numpy()
    batched = session.run(sketches)
    single = np.concatenate([session.run(sketch[None]) for sketch in sketches])
    return float(max(np.abs(batched - expected).max(), np.abs(single - expected).max()))


def require_small(difference: float, limit: float) -> None:
    """Raise :class:`ExportError` if ONNX and torch differ by more than ``limit``, or by NaN."""
    if not difference <= limit:
        raise ExportError(
            f"the exported model differs from torch by {difference:.2g} on test sketches, more than"
            f" export.max_onnx_difference ({limit:g}); nothing was exported"
        )


def build_config(params: Params, generator: Generator) -> dict[str, Any]:
    """``config.json``: how to feed the model, and what it was made from."""
    dataset = read_json(DATASET)
    training = read_json(TRAINING_METRICS)
    return {
        "format_version": FORMAT_VERSION,
        "name": params.tracking.registered_model,
        "preprocessing": {
            "image_size": generator.architecture.image_size,
            "resize": "keep the aspect, centre on white",
            "grey": "Rec. 601 luma; transparency over white",
            "input": f"{INPUT_NAME}: float32 N×1×S×S, value / 127.5 − 1, white paper = 1",
            "output": f"{OUTPUT_NAME}: float32 N×3×S×S RGB, (value + 1) · 127.5",
        },
        "noise": {
            "dropout": generator.architecture.dropout,
            "shapes": [list(shape) for shape in generator.noise_shapes],
        },
        "architecture": dataclasses.asdict(generator.architecture),
        "params": {name: dataclasses.asdict(params)[name] for name in SECTIONS},
        "data": dataset,
        "training": training,
        "evaluation": read_json(EVALUATION_METRICS),
        "data_licence": params.export.data_licence,
    }
