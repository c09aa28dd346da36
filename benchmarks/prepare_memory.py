"""Does ``prepare`` need more memory for more pairs?

    python -m benchmarks.prepare_memory --pairs 1000 10000 100000

Small pairs, so that a hundred thousand take minutes: what grows with their number does so all the
same. Peaks are resident sets, of the stage's process and of the largest of its workers.
"""

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline_steps.prepare import prepare

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
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"{elapsed_s:.1f} s; peak {own:.0f} MiB, largest worker {workers:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
