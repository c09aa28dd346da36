"""Small outputs of all stages, and what is registered of them."""

import csv
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from colorizer.base.files import write_json
from colorizer.model.folder import compute_checksums
from pipeline_steps.base.paths import (
    EVALUATION_REPORT,
    EXPORTED_MODEL,
    HISTORY,
    RUN_FILE,
    STRIPS,
)
from pipeline_steps.export.onnx_export import export_onnx
from pipeline_steps.export.stage import SECTIONS
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture, save_generator
from pipeline_steps.params import Params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.run_file import TrainingRun, write_run_file

REPOSITORY = Path(__file__).parents[3]
NAME = "sketch-colorizer"


def write_outputs(params: Params) -> None:
    """Write small outputs of all stages below the current folder."""
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4)).eval()
    folder = EXPORTED_MODEL
    folder.mkdir(parents=True)
    export_onnx(generator, folder / "generator.onnx")
    save_generator(folder / "generator.safetensors", generator.architecture, generator.state_dict())
    scores = {"l1": 0.1, "psnr": 20.0, "ssim": 0.9, "chroma": 3.0, "st_lpips": 0.1, "leak": 0.0}
    estimate = {"value": 1.0, "low": 0.5, "high": 1.5}
    names = ("generator", "copy_sketch", "white", "train_mean")
    config: dict[str, Any] = {
        "format_version": 1,
        "preprocessing": {"image_size": 32},
        "params": {name: asdict(params)[name] for name in SECTIONS},
        "data": {"fingerprint": "f"},
        "training": {"epochs": 2, "best_epoch": 1},
        "evaluation": {
            **dict.fromkeys(names, scores),
            "test_pairs": 2,
            "kid": dict.fromkeys(names, estimate),
            "line_styles": {"thicker": scores | {"l1": 0.2}},
        },
    }
    write_json(folder / "config.json", config)
    (folder / "README.md").write_text("# Card\n\n![grid](grid.png)\n\n## Use\nColour.\n")
    Image.new("RGB", (4, 4)).save(folder / "grid.png")
    write_json(folder / "checksums.json", compute_checksums(folder))
    for path in (STRIPS, EVALUATION_REPORT / "random.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    with HISTORY.open("w", newline="") as file:
        csv.writer(file).writerows([["epoch", "val_l1"], [1, 0.5], [2, 0.25]])
    run = TrainingRun(
        run_id="0" * 32,
        training="t1",
        tracking_uri="http://elsewhere",
        data={"train": "a" * 64, "val": "b" * 64},
    )
    write_run_file(RUN_FILE, run)


def read_versions() -> list[int]:
    client = mlflow_server.connect()
    return [int(version.version) for version in client.search_model_versions(f"name = '{NAME}'")]
