"""Stage 5: the best generator → a self-contained folder that colours sketches without torch.

Reads  models/generator.safetensors, data/prepared/{test.npy,dataset.json},
       metrics/{training,evaluation}.json, reports/evaluate/random.png
Writes models/colorizer/ (see colorizer/model/folder.py)

The ONNX file is compared with torch on real test sketches; beyond a stated tolerance the export is
refused. Equal weights give equal bytes. Registering is a command of its own: ``register``.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from colorizer.base.files import sync, write_json, write_text
from colorizer.model.folder import (
    CARD_FILE,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    GRID_FILE,
    HINTS_NAME,
    INPUT_NAME,
    ONNX_FILE,
    OUTPUT_NAME,
    WEIGHTS_FILE,
    ModelFolder,
    compute_checksums,
)
from pipeline_steps.base.disk_space import require_disk_space
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
from pipeline_steps.export.onnx_export import compare_with_torch, export_onnx, require_small
from pipeline_steps.networks.generator import Generator, load_generator
from pipeline_steps.pairs.packed import PackedPairs, read_pairs
from pipeline_steps.params import Params, read_params

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
    print(
        f"export: {EXPORTED_MODEL}, largest difference from torch {difference:.1e} in −1..1 units"
    )
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


def build_config(params: Params, generator: Generator) -> dict[str, Any]:
    """The content of ``config.json``, see :mod:`colorizer.model.folder`."""
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
            "hints": f"{HINTS_NAME}, if it takes them: float32 N×4×S×S, RGB · mask, mask; or 0, and"
            " −1 where colours don't flow, if hint_barriers",
            "output": f"{OUTPUT_NAME}: float32 N×3×S×S RGB, (value + 1) · 127.5",
        },
        "hints": generator.architecture.hints,
        "hint_barriers": generator.architecture.takes_hints,
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
