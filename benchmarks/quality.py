"""Compare the quality of training with and without speed optimizations, over several seeds.

    python -m benchmarks.quality --prepared data/prepared --epochs 10

Plain training uses float32, torch's own convolutions and Adam, and doesn't compile. Both see the
same pictures in the same order, so they differ by rounding and by what it leads to in training.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch

from pipeline_steps.networks import convolution
from pipeline_steps.pairs.packed import SKETCH, PackedPairs, read_pairs
from pipeline_steps.params import TrainParams, read_params
from pipeline_steps.train import state, trainer
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.memory import keep_freed_memory

METRICS = ("val_l1", "val_ssim", "val_psnr", "val_chroma")
CPU = torch.device("cpu")


def main() -> None:
    """Train each seed plain and fast; print each, then means and standard deviations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    keep_freed_memory()
    pairs = [read_pairs(arguments.prepared / f"{name}.npy") for name in ("train", "val")]
    results: dict[str, list[state.EpochRow]] = {"plain": [], "fast": []}
    for seed in arguments.seeds:
        for name, rows in results.items():
            params = dataclasses.replace(
                read_params().train, epochs=arguments.epochs, seed=seed, lr_decay_fraction=0.5
            )
            start_s = time.monotonic()
            with ExitStack() as stack:
                if name == "plain":
                    params = make_plain(params, stack)
                rows.append(train(params, *pairs))
            print(f"seed {seed} {name:<6} {time.monotonic() - start_s:.0f} s  {show(rows[-1])}")
    for name, rows in results.items():
        means = {key: [row[key] for row in rows] for key in METRICS}
        spread = {key: statistics.stdev(values) for key, values in means.items()}
        print(f"{name:<6} mean    {show({k: statistics.mean(v) for k, v in means.items()})}")
        print(f"{name:<6} st.dev. {show(spread)}", flush=True)


def make_plain(params: TrainParams, stack: ExitStack) -> TrainParams:
    """Disable speed optimizations until ``stack`` is closed; return the params to train with."""
    stack.enter_context(patch.object(convolution, "MAX_ROWS", 0))
    stack.enter_context(patch.object(state, "build_optimizer", plain_adam))
    return dataclasses.replace(params, precision="float32", compile=False)


def plain_adam(network: torch.nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """Build torch's own Adam."""
    betas = (params.adam_beta1, params.adam_beta2)
    return torch.optim.Adam(network.parameters(), lr=1.0, betas=betas)


def train(params: TrainParams, train_pairs: PackedPairs, val_pairs: PackedPairs) -> state.EpochRow:
    """Train in a temporary folder; return the last row of the history."""
    panel = fetch(val_pairs, torch.zeros(1, dtype=torch.int64), CPU)[:, SKETCH]
    with tempfile.TemporaryDirectory() as folder:
        trained = trainer.train(
            train_pairs,
            val_pairs,
            params,
            panel_sketches=panel,
            work_folder=Path(folder),
            fingerprint="quality",
            observer=trainer.TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
        )
    return trained.history[-1]


def show(row: dict[str, float]) -> str:
    """Format the val metrics in one line."""
    return "  ".join(f"{key.removeprefix('val_')} {row[key]:.4f}" for key in METRICS)


if __name__ == "__main__":
    main()
