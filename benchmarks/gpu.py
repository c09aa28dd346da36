"""All GPU benchmarks in one command of about eight minutes.

    python -m benchmarks.gpu --peer ~/pytorch-CycleGAN-and-pix2pix

The paper's training step, the peer's and the recipe's, a profile of the step, epochs by the recipe
over a packed set as large as Kaggle's (drawn sample pairs, repeated), and the evaluation of as many
test pairs as Kaggle's. Without ``--peer`` all but the peer's.
Needs torch, safetensors, numpy, pillow, pyyaml and tqdm only.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import matmul_peak, synchronize
from benchmarks.training_step import (
    IMAGE_SIZE,
    MATMUL,
    SIDES,
    ask,
    build_ours,
    check_equality,
    count_flops,
    print_machine,
    random_pairs,
    recipe_params,
    report,
    start_sides,
    time_interleaved,
)
from pipeline_steps.drawing.character import draw_pair
from pipeline_steps.evaluate.scoring import score_pairs
from pipeline_steps.pairs.packed import PackedPairs, UInt8Array, pack, read_pairs, write_pairs
from pipeline_steps.train import trainer
from pipeline_steps.train.device import choose_autocast_dtype, choose_device
from pipeline_steps.train.state import EpochRow, build_state

KAGGLE_TRAIN_PAIRS, KAGGLE_TEST_PAIRS = 14_224, 3_545
DRAWN_PAIRS = 64
EPOCHS = 15
PROFILED_STEPS = 10
DEFAULT_SIDES = ["ours", "ours-compiled", "recipe", "recipe-compiled", "recipe-hints"]


def main() -> None:
    """Run all benchmarks; the training stops after the epochs that fit in the time."""
    arguments = parse_arguments()
    deadline_s = time.monotonic() + 60 * arguments.minutes
    device = choose_device("auto")
    print_machine(arguments.peer, device)
    if arguments.peer:
        for dtype in (torch.float64, torch.float32):
            check_equality(arguments.peer, device, dtype)
    sides = arguments.sides or [*(["peer"] if arguments.peer else []), *DEFAULT_SIDES]
    flops = count_flops(device)
    peaks = {name: matmul_peak(dtype, device) for name, dtype in MATMUL.items()}
    print(", ".join(f"{name} peak {peak / 1e12:.3g} TFLOP/s" for name, peak in peaks.items()))
    with start_sides(sides, arguments.peer) as workers:
        for batch_size in arguments.batch_sizes:
            times = time_interleaved(workers, batch_size, rounds=5, turn_s=1.0)
            report(times, batch_size, flops, peaks, run_images=None)
            for name, worker in workers.items():
                print(f"  {name:<24}peak memory {ask(worker, 'peak', 0):.1f} GiB", flush=True)
    show_profile(arguments.batch_sizes[-1], device)
    run_whole(arguments, device, deadline_s)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, help="a checkout of the peer")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="default: all")
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit, approximate")
    parser.add_argument("--train-pairs", type=int, default=KAGGLE_TRAIN_PAIRS)
    parser.add_argument("--test-pairs", type=int, default=KAGGLE_TEST_PAIRS)
    arguments = parser.parse_args()
    if not arguments.peer and any(SIDES[name].code == "peer" for name in arguments.sides or ()):
        parser.error("--sides: the peer's need --peer CHECKOUT")
    return arguments


def show_profile(batch_size: int, device: torch.device) -> None:
    """Print the profile of an uncompiled step of the recipe."""
    params = recipe_params(batch_size=batch_size)
    state, pairs = build_ours(params, device), random_pairs(batch_size, device)
    dtype = choose_autocast_dtype(params.precision, device)
    trainer.update(state, pairs, params, dtype, adversarial=False)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiled:
        for _ in range(PROFILED_STEPS):
            trainer.update(state, pairs, params, dtype, adversarial=False)
        synchronize(device)
    key = f"self_{device.type}_time_total"
    print(profiled.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=48))


def run_whole(arguments: argparse.Namespace, device: torch.device, deadline_s: float) -> None:
    """Train and evaluate on a set of Kaggle's size; print seconds per epoch and in total."""
    batch_size = arguments.batch_sizes[-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"train": arguments.train_pairs, "val": 64, "test": arguments.test_pairs}
        train_pairs, val_pairs, test_pairs = repeat_drawn(folder, sizes)
        start_s = time.monotonic()
        ends_s: list[float] = []

        def on_epoch(row: EpochRow) -> None:
            ends_s.append(time.monotonic())
            print(f"epoch {row['epoch']:.0f}: {row['images_per_s']:.0f} images/s", flush=True)
            last_s = ends_s[-1] - ([start_s, *ends_s][-2])
            if ends_s[-1] + 1.5 * last_s > deadline_s:
                raise OutOfTimeError

        params = recipe_params(batch_size=batch_size, epochs=EPOCHS)
        observer = trainer.TrainingObserver(on_samples=lambda *_: None, on_epoch=on_epoch)
        try:
            trainer.train(
                train_pairs,
                val_pairs,
                params,
                panel_sketches=torch.ones(1, 1, IMAGE_SIZE, IMAGE_SIZE),
                work_folder=folder / "work",
                fingerprint="benchmark",
                observer=observer,
            )
        except OutOfTimeError:
            print(f"time limit reached after {len(ends_s)} of {EPOCHS} epochs")
        trained_s = time.monotonic() - start_s
        generator = build_state(params, IMAGE_SIZE, device).generator.eval()
        start_s = time.monotonic()
        mean = torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE)
        score_pairs(generator, test_pairs, mean, batch_size=batch_size)
        evaluated_s = time.monotonic() - start_s
    print(
        f"{len(ends_s)} epochs of {arguments.train_pairs} pairs at {IMAGE_SIZE} px in"
        f" {trained_s:.1f} s, {trained_s / len(ends_s):.2f} s per epoch with warm-up;"
        f" evaluation of {arguments.test_pairs}: {evaluated_s:.1f} s"
    )
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")


class OutOfTimeError(Exception):
    """Another epoch might exceed the time limit."""


def repeat_drawn(folder: Path, sizes: dict[str, int]) -> list[PackedPairs]:
    """Write packed splits of a few drawn pairs, repeated; that doesn't affect speed."""
    drawn = [draw_packed(number) for number in range(DRAWN_PAIRS)]

    def repeat(num_pairs: int) -> Iterator[UInt8Array]:
        return (drawn[number % DRAWN_PAIRS] for number in range(num_pairs))

    for name, size in sizes.items():
        path = folder / f"{name}.npy"
        write_pairs(path, repeat(size), num_pairs=size, image_size=IMAGE_SIZE)
    return [read_pairs(folder / f"{name}.npy") for name in sizes]


def draw_packed(number: int) -> UInt8Array:
    """Draw a pair and pack it, S×S×4 ``uint8``."""
    halves = draw_pair(1, number)
    colour, sketch = (np.asarray(half.resize((IMAGE_SIZE, IMAGE_SIZE))) for half in halves)
    return pack(colour, sketch)


if __name__ == "__main__":
    main()
