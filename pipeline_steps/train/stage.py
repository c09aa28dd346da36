"""Stage 3: packed pairs → generator, history, sample strips, and an MLflow run.

Reads  data/prepared/{train,val}.npy
Writes models/generator.safetensors (best by val), models/generator_last.safetensors,
       models/run.json (the MLflow run), reports/train/{history.csv,strips.png},
       metrics/training.json
Works in .work/train/<fingerprint>/: checkpoints and samples. To resume, run the same again.
       .work/inductor/: what ``torch.compile`` made, kept between runs

On several GPUs: ``torchrun --nproc-per-node N -m pipeline_steps train``.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from colorizer.base.files import remove_abandoned, write_json, write_text
from colorizer.base.pixels import to_pixel_range
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.paths import (
    GENERATOR,
    HISTORY,
    INDUCTOR_CACHE,
    LAST_GENERATOR,
    RUN_FILE,
    STRIPS,
    TRAIN_PAIRS,
    TRAIN_WORK,
    TRAINING_METRICS,
    VAL_PAIRS,
)
from pipeline_steps.networks.generator import save_generator
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs, read_pairs
from pipeline_steps.params import Params, TrainParams, read_params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.journal import RunJournal
from pipeline_steps.tracking.run_file import TrainingRun, write_run_file
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.data_parallel import ProcessGroup, join_process_group
from pipeline_steps.train.log import TrainingLog
from pipeline_steps.train.memory import keep_freed_memory
from pipeline_steps.train.state import EpochRow, TrainingState, snapshot
from pipeline_steps.train.strips import Picture, draw_strips, read_picture, save_picture
from pipeline_steps.train.trainer import (
    TrainingObserver,
    choose_autocast_dtype,
    choose_device,
    train,
)

OF_THE_MACHINE = ("images_per_s", "peak_memory_gib")
"""Columns of the history that differ from machine to machine: logged, not written."""
CODE = Path(__file__).parent


def main() -> None:
    """Train as ``params.yaml`` says, alone or with the processes that ``torchrun`` started."""
    params = read_params()
    keep_freed_memory()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(INDUCTOR_CACHE.resolve()))
    train_pairs, val_pairs = read_split(TRAIN_PAIRS), read_split(VAL_PAIRS)
    data = {"train": train_pairs.sha256(), "val": val_pairs.sha256()}
    with join_process_group() as processes:
        if processes.leads:
            lead(params, train_pairs, val_pairs, data, processes)
        else:
            follow(params.train, train_pairs, val_pairs, data, processes)


def follow(
    params: TrainParams,
    train_pairs: PackedPairs,
    val_pairs: PackedPairs,
    data: dict[str, str],
    processes: ProcessGroup,
) -> None:
    """Train along with the process that leads; write nothing, log nothing."""
    fingerprint = training_fingerprint(params, data)
    panel = fetch(val_pairs, torch.zeros(1, dtype=torch.int64), torch.device("cpu"))
    train(
        train_pairs,
        val_pairs,
        params,
        panel_sketches=panel[:, SKETCH],
        work_folder=TRAIN_WORK / fingerprint,
        fingerprint=fingerprint,
        observer=TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
        processes=processes,
    )


def lead(
    params: Params,
    train_pairs: PackedPairs,
    val_pairs: PackedPairs,
    data: dict[str, str],
    processes: ProcessGroup,
) -> None:
    """Train, log to MLflow and write the outputs."""
    client = mlflow_server.connect()
    fingerprint = training_fingerprint(params.train, data)
    work_folder = open_work_folder(fingerprint)
    announce(params.train, train_pairs, val_pairs)

    panel = fetch(
        val_pairs, torch.arange(min(params.train.sample_pairs, len(val_pairs))), torch.device("cpu")
    )
    samples = Samples(work_folder / "samples", panel)
    log = TrainingLog(client, params, work_folder=work_folder, data=data)
    with log:
        log.log_dataset(train_pairs, "training")
        log.log_dataset(val_pairs, "validation")
        state = train(
            train_pairs,
            val_pairs,
            params.train,
            panel_sketches=panel[:, SKETCH],
            work_folder=work_folder,
            fingerprint=fingerprint,
            observer=TrainingObserver(
                on_samples=lambda epoch, coloured: log.log_sample(
                    epoch, samples.add(epoch, coloured)
                ),
                on_epoch=log.log_epoch,
            ),
            processes=processes,
        )
        strips = samples.strips()
        log.log_missing_epochs(state.history)
        log.log_result(strips, best_epoch=state.best_epoch, epochs=state.epoch)
    write_outputs(state, strips, log.training_run)
    best = state.history[state.best_epoch - 1]
    print(
        f"train: {state.epoch} epochs; best by val L1: epoch {state.best_epoch},"
        f" L1 {best['val_l1']:.4f}, SSIM {best['val_ssim']:.4f}"
    )


def read_split(path: Path) -> PackedPairs:
    """Read a packed split; raises :class:`DataError` if it is empty."""
    pairs = read_pairs(path)
    if not len(pairs):
        raise DataError(f"{pairs.path}: no pairs; see data/prepared/manifest.csv for the reasons")
    return pairs


def training_fingerprint(params: TrainParams, data: dict[str, str]) -> str:
    """Hash what decides the weights: params, data, and the code of ``gan/`` and what it uses."""
    files = [*sorted((CODE / "gan").glob("*.py")), CODE / "metrics.py", CODE / "pairs.py"]
    code = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    facts = {"params": asdict(params), "data": data, "code": code}
    for name in ("checkpoint_interval_s", "collapse_epochs"):
        del facts["params"][name]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def open_work_folder(fingerprint: str) -> Path:
    """Make this training's folder; say whether it goes on, and drop those of finished trainings.

    What still waits for MLflow is kept.
    """
    folder = TRAIN_WORK / fingerprint
    for other in TRAIN_WORK.glob("*/finished"):
        if other.parent != folder and not RunJournal(other.parent).is_waiting():
            shutil.rmtree(other.parent)
    if (folder / "finished").exists():
        print(f"train: finished before; taken from {folder} (delete it to train anew)")
    elif any(folder.glob("checkpoint-*")):
        print(f"train: goes on from the newest checkpoint in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    return folder


def announce(params: TrainParams, train_pairs: PackedPairs, val_pairs: PackedPairs) -> None:
    """Say on what device and how much is about to be trained."""
    device = choose_device(params.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    precision = "float32" if choose_autocast_dtype(params.precision, device) is None else "bfloat16"
    print(
        f"train: {len(train_pairs)} pairs ({len(val_pairs)} val) at {train_pairs.image_size} px,"
        f" {params.epochs} epochs, on {name} in {precision}",
        flush=True,
    )


class Samples:
    """The coloured panel by epoch, kept as pictures so that a resumed training has them all."""

    def __init__(self, folder: Path, panel: Tensor) -> None:
        self.folder = folder
        self.sketches = to_pictures(panel[:, SKETCH].expand(-1, 3, -1, -1))
        self.truths = to_pictures(panel[:, COLOUR])

    def add(self, epoch: int, coloured: Tensor) -> Picture:
        """Keep an epoch's column (K×3×S×S in −1..1); return it beside sketch and truth."""
        column = to_pictures(coloured)
        save_picture(self.folder / f"epoch_{epoch:04d}.png", np.concatenate(column))
        return draw_strips([self.sketches, self.truths, column])

    def strips(self) -> Picture:
        """Sketch, truth, then one column an epoch, oldest first."""
        columns = [self.sketches, self.truths]
        for path in sorted(self.folder.glob("epoch_*.png")):
            try:
                columns.append(np.split(read_picture(path), len(self.sketches)))
            except (DataError, ValueError) as error:  # damaged, or of another size
                warnings.warn(f"{error}; its column is left out", stacklevel=2)
        return draw_strips(columns)


def to_pictures(values: Tensor) -> list[Picture]:
    """K×3×S×S float in −1..1 → K pictures S×S×3 ``uint8``."""
    pixels = to_pixel_range(values).round().clamp(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).contiguous().numpy())


def write_outputs(state: TrainingState, strips: Picture, run: TrainingRun) -> None:
    """Write every output of the stage, then mark the work folder as finished."""
    architecture = state.generator.architecture
    save_generator(GENERATOR, architecture, state.best_weights)
    last = snapshot(state.generator)
    save_generator(LAST_GENERATOR, architecture, last)
    write_run_file(RUN_FILE, run)
    write_history(HISTORY, state.history)
    save_picture(STRIPS, strips)
    best = state.history[state.best_epoch - 1]
    val = {key.removeprefix("val_"): best[key] for key in best if key.startswith("val_")}
    write_json(
        TRAINING_METRICS, {"best_epoch": state.best_epoch, "epochs": state.epoch, "val": val}
    )
    write_text(TRAIN_WORK / run.training / "finished", "")


def write_history(path: Path, history: list[EpochRow]) -> None:
    """Write the history table, a row an epoch, less what differs from machine to machine."""
    rows = [{key: row[key] for key in row if key not in OF_THE_MACHINE} for row in history]
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())
