"""Does ``prepare`` need more memory for more pairs?

    python -m benchmarks.prepare_memory --pairs 1000 10000 100000

Small pairs, so that a hundred thousand take minutes: what grows with their number does so all the
same. Peaks are of anonymous memory, sampled ten times a second: pages of mapped files, which the
system takes back when it needs them, don't count.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from tqdm import tqdm

from pipeline_steps.prepare.stage import prepare

HALF_PX = 64
IMAGE_SIZE = 32


def main() -> None:
    """Run the stage on archives of several sizes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        prepare_and_tell(arguments.inside)
        return
    for num_pairs in arguments.pairs:
        with tempfile.TemporaryDirectory() as folder:
            draw_archive(Path(folder) / "raw" / "pairs.zip", num_pairs)
            command = [sys.executable, "-m", "benchmarks.prepare_memory", "--inside", folder]
            subprocess.run(command, check=True)


def draw_archive(path: Path, num_pairs: int) -> None:
    """Colour blocks and their grey side by side, all different, a tenth of them for val."""
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in tqdm(range(num_pairs), desc="draw", mininterval=10):
            blocks = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
            colour = blocks.resize((HALF_PX, HALF_PX), Image.Resampling.NEAREST)
            both = Image.new("RGB", (2 * HALF_PX, HALF_PX))
            both.paste(colour, (0, 0))
            both.paste(colour.convert("L").convert("RGB"), (HALF_PX, 0))
            file = io.BytesIO()
            both.save(file, "PNG", compress_level=1)
            split = "val" if number % 10 == 0 else "train"
            archive.writestr(f"{split}/{number}.png", file.getvalue())


def prepare_and_tell(folder: Path) -> None:
    """Run the stage here; print how long it took and what it needed."""
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
        near_duplicate_distance=4,
        max_picture_pixels=10**6,
    )
    elapsed_s = time.perf_counter() - start_s
    peaks.stop()
    own, worker = f"{peaks.own_mib:.0f} MiB", f"{peaks.worker_mib:.0f} MiB"
    print(f"{elapsed_s:.1f} s; peak {own}, largest worker {worker}", flush=True)


class Peaks(threading.Thread):
    """The most anonymous memory that this process and any of its children had, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own_mib = self.worker_mib = 0.0
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        me = psutil.Process()
        while not self._ended.wait(0.1):
            self.own_mib = max(self.own_mib, anonymous_mib(me))
            workers = [anonymous_mib(child) for child in me.children()]
            self.worker_mib = max(self.worker_mib, *workers, 0.0)

    def stop(self) -> None:
        """End sampling."""
        self._ended.set()
        self.join()


def anonymous_mib(process: psutil.Process) -> float:
    """Resident memory without mapped files; 0 for a process that is gone."""
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(memory.rss - memory.shared) / 2**20


if __name__ == "__main__":
    main()
