"""Measure the peak memory of ``prepare`` by number of pairs.

    python -m benchmarks.prepare_memory --pairs 10000 100000 1000000 --max-truth-difference 0

Pairs are small, so that 100,000 take minutes; memory that grows with their number grows alike.
Peaks are of anonymous memory, sampled ten times a second: pages of mapped files don't count, since
the system reclaims them when needed. ``--folder`` keeps the archives for another run.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from tqdm import trange

from colorizer.base.files import atomic_path
from pipeline_steps.prepare.stage import prepare

HALF_PX = 32
IMAGE_SIZE = 32


def main() -> None:
    """Run the stage on archives of several sizes, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--max-truth-difference", type=int, default=40, help="0: no search")
    parser.add_argument("--folder", type=Path, help="keep the archives there")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        prepare_and_print(arguments.inside, arguments.max_truth_difference)
        return
    for num_pairs in arguments.pairs:
        with work_folder(arguments.folder) as work:
            folder = work / str(num_pairs)
            draw_archive(folder / "raw" / "pairs.zip", num_pairs)
            options = ["--max-truth-difference", str(arguments.max_truth_difference)]
            command = [sys.executable, "-m", "benchmarks.prepare_memory", "--inside", str(folder)]
            subprocess.run([*command, *options], check=True)


@contextmanager
def work_folder(kept: Path | None) -> Iterator[Path]:
    """Yield the folder to keep, or one that is removed afterwards."""
    if kept:
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def draw_archive(path: Path, num_pairs: int) -> None:
    """Draw an archive of distinct pairs of colour blocks and their greyscale, 10 % of them val."""
    if path.exists():
        return
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for number in trange(num_pairs, desc="draw", mininterval=10):
            blocks = random.integers(0, 256, (8, 8, 3), np.uint8)
            grey = np.repeat(blocks.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
            both = Image.fromarray(np.concatenate([blocks, grey], axis=1))
            file = io.BytesIO()
            both.resize((2 * HALF_PX, HALF_PX), Image.Resampling.NEAREST).save(
                file, "PNG", compress_level=1
            )
            split = "val" if number % 10 == 0 else "train"
            archive.writestr(f"{split}/{number}.png", file.getvalue())


def prepare_and_print(folder: Path, max_truth_difference: int) -> None:
    """Run the stage in this process; print its time and peak memory."""
    peaks = Peaks()
    peaks.start()
    start_s = time.perf_counter()
    prepare(
        folder / "raw",
        folder / "prepared",
        folder / "report",
        image_size=IMAGE_SIZE,
        sketch_side="right",
        val_fraction=0.1,
        test_fraction=0.1,
        pair_checks="off",
        max_truth_difference=max_truth_difference,
        max_picture_pixels=10**6,
    )
    elapsed_s = time.perf_counter() - start_s
    peaks.stop()
    own, worker = f"{peaks.own_mib:.0f} MiB", f"{peaks.worker_mib:.0f} MiB"
    print(
        f"{folder.name} pairs: {elapsed_s:.1f} s; peak {own}, largest worker {worker}", flush=True
    )


class Peaks(threading.Thread):
    """Samples the peak anonymous memory of this process and of its largest child, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own_mib = self.worker_mib = 0.0
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        own = psutil.Process()
        while not self._ended.wait(0.1):
            self.own_mib = max(self.own_mib, anonymous_mib(own))
            workers = [anonymous_mib(child) for child in own.children()]
            self.worker_mib = max(self.worker_mib, *workers, 0.0)

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()


def anonymous_mib(process: psutil.Process) -> float:
    """Resident memory without mapped files; 0 for a process that has ended."""
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(memory.rss - memory.shared) / 2**20


if __name__ == "__main__":
    main()
