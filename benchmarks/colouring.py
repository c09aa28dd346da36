"""Time colouring from file to file, with the generator in onnxruntime and in torch.

    python -m benchmarks.colouring --model models/colorizer
    python -m benchmarks.colouring --model models/colorizer --batch 3000

Cold start is the time from starting the ``colorize`` command to the picture on disk. ``--batch``
colours a folder of that many files, of which 1 % are damaged: uninterrupted, killed twice and
resumed, and in 8 shards. It prints whether all gave the same bytes.
"""

import argparse
import hashlib
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from benchmarks.timing import ratios, spread
from colorizer.model.folder import WEIGHTS_FILE, ModelFolder
from colorizer.model.session import ModelSession
from colorizer.runtime import Colorizer
from pipeline_steps.networks.generator import load_generator

SIZES = (256, 512, 2048)
LARGEST = 8192
ROUNDS = 7
TURN_S = 2.0
NUM_SHARDS = 8
SIDES = (64, 256)
"""Smallest and largest side of the batch's pictures, in px."""


def main() -> None:
    """Print the table of the chosen benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/colorizer"))
    parser.add_argument(
        "--batch", type=int, help="colour a folder of so many files instead of timing"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.batch:
            colour_batch(Path(name), arguments.model.resolve(), arguments.batch)
        else:
            time_sizes(Path(name), arguments.model)
            time_largest(Path(name), arguments.model)


def draw(width: int, height: int, seed: int) -> Image.Image:
    """Draw ellipses on white, mode L."""
    draws, picture = random.Random(seed), Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(picture)
    thick = max(1, min(width, height) // 100)
    for _ in range(10):
        left, right = sorted(draws.choices(range(width), k=2))
        top, bottom = sorted(draws.choices(range(height), k=2))
        pen.ellipse((left, top, right, bottom), outline=0, width=thick)
    return picture


def command(model: Path, *arguments: object) -> list[str]:
    """Build a ``colorize`` command line with this model."""
    return [sys.executable, "-m", "colorizer", *map(str, arguments), "--model", str(model)]


def time_sizes(folder: Path, model: Path) -> None:
    """Print cold start and pictures/s, onnxruntime and torch in alternating rounds."""
    in_onnx, in_torch = Colorizer.load(model), Colorizer.load(model)
    in_torch.session = TorchSession(in_torch.model, load_generator(model / WEIGHTS_FILE))
    print(
        "side px  cold start s            pictures/s              torch / onnxruntime time",
        flush=True,
    )
    for side in SIZES:
        source, target = folder / f"{side}.png", folder / "coloured.png"
        draw(side, side, side).save(source)
        cold_s = [time_command(command(model, source, "-o", target)) for _ in range(ROUNDS)]
        times: dict[str, list[float]] = {"onnxruntime": [], "torch": []}
        for _ in range(ROUNDS):
            for name, colorizer in (("onnxruntime", in_onnx), ("torch", in_torch)):
                times[name].append(time_one(partial(colour, colorizer, source, target)))
        rate = spread([1 / seconds for seconds in times["onnxruntime"]])
        ratio = ratios(times["torch"], times["onnxruntime"])
        print(f"{side:7}  {spread(cold_s)!s:<22}  {rate!s:<22}  {ratio}", flush=True)


def time_largest(folder: Path, model: Path) -> None:
    """Time the largest accepted sketch, and print the peak memory of the largest process."""
    source = folder / "largest.png"
    draw(LARGEST, LARGEST, 1).save(source)
    seconds = time_command(command(model, source, "-o", folder / "coloured.png"))
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{LARGEST} × {LARGEST}: {seconds:.1f} s, peak {peak_gib:.2f} GiB in the largest process")


class TorchSession(ModelSession):
    """The runtime's model session with the generator in torch."""

    def __init__(self, model: ModelFolder, generator: torch.nn.Module) -> None:
        super().__init__(model)
        self.generator = generator.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, sketches: Any, noise: Any = None, hints: Any = None) -> Any:
        """As :meth:`ModelSession.run`."""
        assert (noise, hints) == (None, None), "only colouring without either is compared"
        return self.generator(torch.from_numpy(sketches)).numpy()


def time_command(arguments: Sequence[str]) -> float:
    """Run a command that must succeed; seconds."""
    start_s = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.perf_counter() - start_s


def colour(colorizer: Colorizer, source: Path, target: Path) -> None:
    """Colour a file into another."""
    colorizer.draw(source).save(target)


def time_one(work: Callable[[], object]) -> float:
    """Median seconds of a call, over ``TURN_S``."""
    end_s = time.perf_counter() + TURN_S
    times: list[float] = []
    while time.perf_counter() < end_s or len(times) < 3:
        start_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - start_s)
    return statistics.median(times)


def colour_batch(folder: Path, model: Path, count: int) -> None:
    """Compare uninterrupted, killed and sharded batches, with different numbers of workers."""
    sources = folder / "sketches"
    sources.mkdir()
    for number in range(count):
        path = sources / f"{number:05}.png"
        if number % 100 == 50:
            path.write_bytes((b"not a picture", b"", b"\x89PNG\r\n\x1a\n\0\0")[number % 3])
        else:
            side = SIDES[0] + number * (SIDES[1] - SIDES[0]) // count
            draw(side, side, number).save(path)
    start_s = time.perf_counter()
    done = subprocess.run(
        command(model, sources, "-o", folder / "whole"), capture_output=True, text=True
    )
    elapsed_s = time.perf_counter() - start_s
    print(f"uninterrupted: {elapsed_s:.0f} s, exit {done.returncode}: {done.stdout}")
    whole = hash_pictures(folder / "whole")

    killed_at = []
    for share in (0.2, 0.6):
        process = subprocess.Popen(
            command(model, sources, "-o", folder / "killed"),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while len(list((folder / "killed").glob("*.png"))) < share * count:
            if process.poll() is not None:
                raise SystemExit("the batch ended before it was killed; use more files")
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed_at.append(len(list((folder / "killed").glob("*.png"))))
    subprocess.run(command(model, sources, "-o", folder / "killed"), capture_output=True)
    is_equal = hash_pictures(folder / "killed") == whole
    print(f"killed at {killed_at} pictures, resumed: {'equal' if is_equal else 'DIFFERENT'}")
    failed = [
        sum(",failed," in line for line in (folder / name / "report.csv").read_text().splitlines())
        for name in ("whole", "killed")
    ]
    print(f"damaged files in the reports: {failed}")

    for number in range(1, NUM_SHARDS + 1):
        options = ("--shard", f"{number}/{NUM_SHARDS}", "--workers", 1 + 2 * (number % 2))
        subprocess.run(
            command(model, sources, "-o", folder / "shards", *options), capture_output=True
        )
    is_equal = hash_pictures(folder / "shards") == whole
    print(f"{NUM_SHARDS} shards with 1 and 3 workers: {'equal' if is_equal else 'DIFFERENT'}")


def hash_pictures(folder: Path) -> dict[str, str]:
    """Map each picture's name to its SHA-256."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.png"))
    }


if __name__ == "__main__":
    main()
