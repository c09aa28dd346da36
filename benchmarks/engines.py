"""Compare the local engine with Ray's, for ``prepare`` and for batches of ``colorize``.

    python -m benchmarks.engines prepare --pairs 20000
    python -m benchmarks.engines colorize --pairs 20000
    python -m benchmarks.engines prepare --pairs 5000 --engines local:2 ray:2 --kills 20

Pairs and pages are drawn, and small: what a worker does with one takes milliseconds, so that the
cost of handing out work shows. Each run is a process of its own. Prints seconds, the peak of the
memory of all its processes together (without mapped files), and the SHA-256 of its outputs, which
must be equal. With ``--kills``, workers of the last engine are killed at random moments.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageDraw
from tqdm import tqdm

from benchmarks.prepare_memory import SETTINGS, anonymous_mib, draw_archive

PAGE_PX = 64
KILL_INTERVAL_S = 1.5
"""On average, between two kills."""


def main() -> None:
    """Draw the inputs, run each engine, and compare the outputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "colorize"))
    parser.add_argument("--pairs", type=int, default=20_000, help="or pages")
    parser.add_argument("--engines", nargs="+", default=["local:1", "local:2", "ray:1", "ray:2"])
    parser.add_argument("--kills", type=int, default=0, help="of the last engine's workers")
    parser.add_argument("--model", type=Path, help="for colorize (default: tiny, random weights)")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        prepare_inside(Path(arguments.inside[0]), arguments.inside[1], int(arguments.inside[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what == "prepare":
            draw_archive(folder / "raw" / "pairs.zip", arguments.pairs)
        else:
            draw_pages(folder / "pages", arguments.pairs)
            if not arguments.model:
                export_tiny_model(folder / "model")
        model = arguments.model or folder / "model"
        hashes = set()
        for engine in arguments.engines:
            kills = arguments.kills if engine == arguments.engines[-1] else 0
            hashes.add(run(arguments.what, folder, engine, model, kills))
        print("all equal" if len(hashes) == 1 else "DIFFERENT OUTPUTS")
        sys.exit(len(hashes) != 1)


def run(what: str, folder: Path, engine: str, model: Path, kills: int) -> str:
    """Run an engine in a process of its own, print its figures; return the hash of its outputs."""
    kind, workers = engine.split(":")
    out = folder / f"{kind}-{workers}"
    if what == "prepare":
        out.mkdir()
        out.joinpath("raw").symlink_to(folder / "raw")
        command = ["benchmarks.engines", "prepare", "--inside", str(out), kind, workers]
        outputs = [out / "prepared", out / "report"]
    else:
        command = ["colorizer", str(folder / "pages"), "-o", str(out), "--model", str(model)]
        command += ["--engine", kind, "--workers", workers]
        outputs = [out]
    start_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    watcher = Watcher(process.pid, kills)
    watcher.start()
    _, told = process.communicate()
    elapsed_s = time.perf_counter() - start_s
    watcher.stop()
    if process.returncode:
        raise SystemExit(told.decode()[-2000:])
    sha256 = hash_outputs(outputs)
    killed = f", {watcher.num_killed} workers killed" if kills else ""
    print(
        f"{what} {kind}, {workers} workers: {elapsed_s:.1f} s, peak {watcher.peak_mib:.0f} MiB in"
        f" {watcher.num_processes} processes{killed}, {sha256[:12]}",
        flush=True,
    )
    return sha256


class Watcher(threading.Thread):
    """Samples the memory of a process and all below it; may kill workers among them."""

    def __init__(self, pid: int, kills: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self.num_processes = 0
        self.num_killed = 0
        self._kills = kills
        self._root = psutil.Process(pid)
        self._random = random.Random(1)
        self._next_kill_s = time.monotonic() + KILL_INTERVAL_S
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._ended.wait(0.2):
            try:
                found = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.peak_mib = max(self.peak_mib, sum(map(anonymous_mib, found)))
            self.num_processes = max(self.num_processes, len(found))
            if self.num_killed < self._kills and time.monotonic() > self._next_kill_s:
                self._kill_one(found)

    def _kill_one(self, found: list[psutil.Process]) -> None:
        workers = [process for process in found if is_worker(process, self._root.pid)]
        if workers:
            self._random.choice(workers).kill()
            self.num_killed += 1
            pause_s = self._random.expovariate(1 / KILL_INTERVAL_S)
            self._next_kill_s = time.monotonic() + pause_s

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()


def is_worker(process: psutil.Process, parent: int) -> bool:
    """Whether it is an actor of Ray that works, or a worker process of the local engine."""
    try:
        if process.name().startswith("ray::_Remote.wo"):
            return True
        return process.ppid() == parent and "multiprocessing.spawn" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def hash_outputs(folders: list[Path]) -> str:
    """The SHA-256 of all files and their names; of reports without times, and without journals."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith((".colorize", "report.csv")):
                data = path.read_bytes()
                if path.name == "report.json":
                    data = repr([row | {"seconds": 0} for row in json.loads(data)]).encode()
                found.update(path.relative_to(folder).as_posix().encode() + data)
    return found.hexdigest()


def prepare_inside(folder: Path, engine: str, workers: int) -> None:
    """Run the stage in this process."""
    from pipeline_steps.prepare.stage import prepare

    prepare(
        folder / "raw",
        folder / "prepared",
        folder / "report",
        max_truth_difference=40,
        engine="ray" if engine == "ray" else "local",
        workers=workers,
        **SETTINGS,
    )


def draw_pages(folder: Path, num_pages: int) -> None:
    """Draw pages of some lines each, a thousand to a folder."""
    numbers = np.random.default_rng(0)
    for number in tqdm(range(num_pages), desc="draw", mininterval=10):
        page = Image.new("L", (PAGE_PX, PAGE_PX), 255)
        points = numbers.integers(0, PAGE_PX, (6, 2)).tolist()
        ImageDraw.Draw(page).line([tuple(point) for point in points], fill=0, width=2)
        path = folder / f"{number // 1000:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.save(path, compress_level=1)


def export_tiny_model(folder: Path) -> None:
    """Export a generator of 32 px with random weights, as a folder that the runtime loads."""
    import torch

    from colorizer.model.folder import (
        CARD_FILE,
        CHECKSUMS_FILE,
        CONFIG_FILE,
        FORMAT_VERSION,
        GRID_FILE,
        ONNX_FILE,
        WEIGHTS_FILE,
        compute_checksums,
    )
    from pipeline_steps.export.onnx_export import export_onnx
    from pipeline_steps.networks.generator import Generator, GeneratorArchitecture

    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4))
    folder.mkdir()
    export_onnx(generator, folder / ONNX_FILE)
    for name in (WEIGHTS_FILE, CARD_FILE, GRID_FILE):
        (folder / name).write_text(name)
    config = {
        "format_version": FORMAT_VERSION,
        "preprocessing": {"image_size": 32},
        "noise": {"dropout": 0.5, "shapes": [list(shape) for shape in generator.noise_shapes]},
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    (folder / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(folder)))


if __name__ == "__main__":
    main()
