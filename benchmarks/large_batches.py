"""Measure quality by batch size and learning-rate scaling, at equal numbers of images seen.

    python -m benchmarks.large_batches --prepared data/prepared --epochs 10

Both learning rates are multiplied by (batch size / committed batch size) to a power: 0 is constant,
0.5 the square root (Krizhevsky 2014, arXiv:1404.5997), 1 linear (Goyal et al. 2017,
arXiv:1706.02677).
"""

import argparse
import dataclasses
import time
from pathlib import Path

from benchmarks.quality import show, train
from pipeline_steps.pairs.packed import read_pairs
from pipeline_steps.params import TrainParams, read_params
from pipeline_steps.train.memory import keep_freed_memory

POWERS = (0.0, 0.5, 1.0)


def main() -> None:
    """Train once per batch size and power; print the last epoch's val metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    keep_freed_memory()
    pairs = [read_pairs(arguments.prepared / f"{name}.npy") for name in ("train", "val")]
    committed = dataclasses.replace(read_params().train, epochs=arguments.epochs)
    settings = [(committed.batch_size, 0.0)]
    settings += [(size, power) for size in arguments.batch_sizes for power in POWERS]
    for batch_size, power in settings:
        params = scale(committed, batch_size, power)
        start_s = time.monotonic()
        row = train(params, *pairs)
        print(
            f"batch {batch_size:<4} lr {params.generator_lr:.2g}/{params.discriminator_lr:.2g}"
            f" (power {power:g})  {show(row)}  {time.monotonic() - start_s:.0f} s",
            flush=True,
        )


def scale(params: TrainParams, batch_size: int, power: float) -> TrainParams:
    """Return params of another batch size, with learning rates scaled by the ratio's power."""
    factor = (batch_size / params.batch_size) ** power
    return dataclasses.replace(
        params,
        batch_size=batch_size,
        generator_lr=params.generator_lr * factor,
        discriminator_lr=params.discriminator_lr * factor,
    )


if __name__ == "__main__":
    main()
