"""Stage 3: prepared pairs → generator, history, sample strips, and an MLflow run.

Reads  data/prepared/{train,val}.npy, shards.json and the shards that it lists
Writes models/generator.safetensors (best by val), models/generator_last.safetensors,
       models/run.json (the MLflow run), reports/train/{history.csv,strips.png},
       metrics/training.json
Works in .work/train/<fingerprint>/ (checkpoints, samples, journal) and .work/inductor/ (the cache
of ``torch.compile``). To resume, run the same command again.

On several GPUs: ``torchrun --nproc-per-node N -m pipeline_steps train``, or ``train.engine: ray``.
"""

import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from colorizer.base.files import write_json
from pipeline_steps.base.errors import DataError, TrainingError
from pipeline_steps.base.json_and_csv import write_table
from pipeline_steps.base.paths import (
    GENERATOR,
    HISTORY,
    INDUCTOR_CACHE,
    LAST_GENERATOR,
    RUN_FILE,
    SHARDS,
    STRIPS,
    TRAIN_PAIRS,
    TRAIN_WORK,
    TRAINING_METRICS,
    VAL_PAIRS,
)
from pipeline_steps.networks.generator import save_generator
from pipeline_steps.pairs.packed import SKETCH, PackedPairs, read_pairs
from pipeline_steps.pairs.shards import read_shard_list
from pipeline_steps.pairs.train_split import TrainPairs, read_train_pairs
from pipeline_steps.params import Params, TrainParams, read_params
from pipeline_steps.scores.st_lpips import load_network
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.run_file import TrainingRun, write_run_file
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.data_parallel import STARTED, ProcessGroup, join_process_group
from pipeline_steps.train.device import choose_autocast_dtype, choose_device
from pipeline_steps.train.fingerprint import training_fingerprint
from pipeline_steps.train.log import TrainingLog
from pipeline_steps.train.memory import keep_freed_memory
from pipeline_steps.train.on_ray import train_on_ray
from pipeline_steps.train.state import EpochRow, TrainingState, snapshot
from pipeline_steps.train.strips import Picture, Samples, save_picture
from pipeline_steps.train.trainer import TrainingObserver, train
from pipeline_steps.train.work_folder import mark_finished, open_work_folder

MACHINE_DEPENDENT = ("images_per_s", "peak_memory_gib")
"""Columns of the history that differ between machines: logged, not written to the output."""


class Data(NamedTuple):
    """Both splits, the sha256 of each, and how many pairs are shuffled as a shard."""

    train: TrainPairs
    val: PackedPairs
    sha256: dict[str, str]
    shard_pairs: int


def main() -> None:
    """Train as ``params.yaml`` says, alone or in one of the processes that ``torchrun`` started.

    With the engine ``ray``, have a cluster's processes do so.
    """
    params = read_params()
    if STARTED in os.environ:
        train_in_group(params)
    elif params.train.engine == "ray":
        read_data(params.train)  # what is wrong with it is known before a cluster starts
        train_on_ray(params)
    elif params.train.processes > 1:
        raise TrainingError(
            f"train.processes: {params.train.processes}, and this is one: start them by torchrun"
            f" --nproc-per-node {params.train.processes} -m pipeline_steps train, or set"
            " train.engine to ray"
        )
    else:
        train_in_group(params)


def train_in_group(params: Params) -> None:
    """Train as one of a group of processes, which this joins; or alone."""
    keep_freed_memory()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(INDUCTOR_CACHE.resolve()))
    if params.scores.st_lpips:
        load_network()  # before MLflow has a run, and the first epoch its end
    data = read_data(params.train)
    fingerprint = training_fingerprint(
        params.train,
        data.sha256,
        st_lpips=params.scores.st_lpips,
        shard_pairs=data.shard_pairs,
    )
    with join_process_group(choose_device(params.train.device)) as processes:
        if processes.is_main:
            train_as_main(params, data, fingerprint, processes)
        else:
            train_as_other(params, data, fingerprint, processes)


def read_data(params: TrainParams) -> Data:
    """Read the train and val splits; raises :class:`DataError` if one is empty or damaged."""
    listed = read_shard_list(SHARDS)
    train_pairs = read_train_pairs(TRAIN_PAIRS, listed, shuffle_shards=params.shuffle_shards)
    val_pairs = read_pairs(VAL_PAIRS)
    for pairs in (train_pairs, val_pairs):
        if not len(pairs):
            raise DataError(
                f"{pairs.where}: no pairs; see data/prepared/manifest.csv for the reasons"
            )
    sha256 = {pairs.name: pairs.sha256() for pairs in (train_pairs, val_pairs)}
    return Data(train_pairs, val_pairs, sha256, listed.shard_pairs)


def train_as_main(params: Params, data: Data, fingerprint: str, processes: ProcessGroup) -> None:
    """Train as rank 0: log to MLflow and write the outputs."""
    client = mlflow_server.connect()
    with open_work_folder(
        TRAIN_WORK,
        fingerprint,
        keep_unfinished=params.train.keep_unfinished,
        keep_unfinished_days=params.train.keep_unfinished_days,
    ) as work_folder:
        description = describe_training(params.train, data)
        print(f"train: {description}", flush=True)
        if params.train.batch_size > len(data.train):
            print(
                f"train.batch_size: {params.train.batch_size} is more than the {len(data.train)}"
                " pairs: an epoch is one step over all of them; set less",
                file=sys.stderr,
            )
        log = TrainingLog(
            client,
            params,
            work_folder=work_folder,
            data=data.sha256,
            description=description,
        )
        state, strips = train_and_log(params, data, log, work_folder, fingerprint, processes)
        write_outputs(state, strips, log.training_run)
        mark_finished(work_folder)
    best = state.history[state.best_epoch - 1]
    print(
        f"train: {state.epoch} epochs; best by val L1: epoch {state.best_epoch},"
        f" L1 {best['val_l1']:.4f}, SSIM {best['val_ssim']:.4f}"
    )


def train_and_log(
    params: Params,
    data: Data,
    log: TrainingLog,
    work_folder: Path,
    fingerprint: str,
    processes: ProcessGroup,
) -> tuple[TrainingState, Picture]:
    """Train with an MLflow run open; return the finished state and the sample strips."""
    indices = torch.arange(min(params.train.sample_pairs, len(data.val)))
    panel = fetch(data.val, indices, torch.device("cpu"))
    samples = Samples(work_folder / "samples", panel)
    with log:
        log.log_dataset(data.train, "training")
        log.log_dataset(data.val, "validation")
        state = train(
            data.train,
            data.val,
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
            st_lpips=params.scores.st_lpips,
            shard_pairs=data.shard_pairs,
            processes=processes,
        )
        strips = samples.strips()
        log.log_missing_epochs(state.history)
        log.log_result(strips, best_epoch=state.best_epoch, epochs=state.epoch)
    return state, strips


def train_as_other(params: Params, data: Data, fingerprint: str, processes: ProcessGroup) -> None:
    """Train as a rank other than 0: write nothing, log nothing."""
    panel = fetch(data.val, torch.zeros(1, dtype=torch.int64), torch.device("cpu"))
    train(
        data.train,
        data.val,
        params.train,
        panel_sketches=panel[:, SKETCH],
        work_folder=TRAIN_WORK / fingerprint,
        fingerprint=fingerprint,
        observer=TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
        st_lpips=params.scores.st_lpips,
        shard_pairs=data.shard_pairs,
        processes=processes,
    )


def describe_training(params: TrainParams, data: Data) -> str:
    """One line: how much is trained, on what device."""
    device = choose_device(params.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    precision = "float32" if choose_autocast_dtype(params.precision, device) is None else "bfloat16"
    return (
        f"{len(data.train)} pairs ({len(data.val)} val) at {data.train.image_size} px,"
        f" {params.epochs} epochs, on {name} in {precision}"
    )


def write_outputs(state: TrainingState, strips: Picture, run: TrainingRun) -> None:
    """Write every output of the stage."""
    architecture = state.generator.architecture
    save_generator(GENERATOR, architecture, state.best_weights)
    save_generator(LAST_GENERATOR, architecture, snapshot(state.generator))
    write_run_file(RUN_FILE, run)
    write_history(HISTORY, state.history)
    save_picture(STRIPS, strips)
    best = state.history[state.best_epoch - 1]
    val = {key.removeprefix("val_"): best[key] for key in best if key.startswith("val_")}
    write_json(
        TRAINING_METRICS, {"best_epoch": state.best_epoch, "epochs": state.epoch, "val": val}
    )


def write_history(path: Path, history: list[EpochRow]) -> None:
    """Write the history as CSV, one row per epoch, without ``MACHINE_DEPENDENT`` columns.

    What an epoch has no value of, as the adversarial loss before its start, is empty.
    """
    rows = [
        {
            key: "" if math.isnan(value) else value
            for key, value in row.items()
            if key not in MACHINE_DEPENDENT
        }
        for row in history
    ]
    write_table(path, rows)
