"""Measure the peak memory of ``prepare`` by number of pairs.

    python -m benchmarks.prepare_memory --pairs 10000 100000 1000000 --max-truth-difference 0

Pairs are small, so that 100,000 take minutes; memory that grows with their number grows alike.
Peaks are of anonymous memory, sampled ten times a second: pages of mapped files don't count, since
the system reclaims them when needed. ``--folder`` keeps the archives for another run.
``--undecoded`` makes a million pairs a matter of minutes: every member is read, but the facts of
the first pair stand for those of all, and no pixels are packed.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
from PIL import Image
from tqdm import trange

from colorizer.base.files import atomic_path
from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare import stage
from pipeline_steps.prepare.chunk_worker import PairPacker
from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import ListedPair, Member
from pipeline_steps.prepare.reading import PairRules
from pipeline_steps.prepare.worker_pool import UnsplitPairs, pack_pairs_in_pool

HALF_PX = 32
IMAGE_SIZE = 32
SETTINGS: dict[str, Any] = {
    "image_size": IMAGE_SIZE,
    "sketch_side": "right",
    "val_fraction": 0.1,
    "test_fraction": 0.1,
    "pair_checks": "off",
    "max_picture_pixels": 10**6,
}
"""Of ``prepare``, for the pairs of :func:`draw_archive`."""


def main() -> None:
    """Run the stage on archives of several sizes, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--max-truth-difference", type=int, default=40, help="0: no search")
    parser.add_argument("--folder", type=Path, help="keep the archives there")
    parser.add_argument("--undecoded", action="store_true", help="decode the first pair alone")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        pack = pack_undecoded if arguments.undecoded else pack_pair
        prepare_and_print(arguments.inside, arguments.max_truth_difference, pack)
        return
    for num_pairs in arguments.pairs:
        with work_folder(arguments.folder) as work:
            folder = work / str(num_pairs)
            draw_archive(folder / "raw" / "pairs.zip", num_pairs)
            options = ["--max-truth-difference", str(arguments.max_truth_difference)]
            options += ["--undecoded"] if arguments.undecoded else []
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
    path.parent.mkdir(parents=True, exist_ok=True)
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


def prepare_and_print(folder: Path, max_truth_difference: int, pack: PairPacker) -> None:
    """Run the stage in this process; print its time and peak memory."""
    peaks = Peaks()

    def pack_pairs(*arguments: Any, **options: Any) -> UnsplitPairs:
        peaks.listing_mib, peaks.own_mib = peaks.own_mib, 0.0
        return pack_pairs_in_pool(*arguments, **options, pack=pack)

    peaks.start()
    start_s = time.perf_counter()
    with mock.patch.object(stage, "pack_pairs_in_pool", pack_pairs):
        stage.prepare(
            folder / "raw",
            folder / "prepared",
            folder / "report",
            max_truth_difference=max_truth_difference,
            **SETTINGS,
        )
    elapsed_s = time.perf_counter() - start_s
    peaks.stop()
    print(
        f"{folder.name} pairs: {elapsed_s:.1f} s; peak {peaks.listing_mib:.0f} MiB while members"
        f" are listed, {peaks.own_mib:.0f} MiB then; largest worker {peaks.worker_mib:.0f} MiB",
        flush=True,
    )


def pack_undecoded(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    """Read a pair's member; give the first pair's facts, with hashes of its own, and no pixels."""
    digest = hashlib.sha256(archive.read(archive.infolist()[pair.member.position]))
    facts = _facts_of_first_pair(archive, rules)
    return replace(facts, sha256=digest.hexdigest(), fingerprint=digest.digest()), None


@cache
def _facts_of_first_pair(archive: zipfile.ZipFile, rules: PairRules) -> PairFacts:
    member = Member(0, *2 * (archive.infolist()[0].filename,))
    pair = ListedPair(id="", split=None, member=member, sketch_member=None)
    return pack_pair(archive, pair, rules)[0]


class Peaks(threading.Thread):
    """Samples the peak anonymous memory of this process and of its largest child, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listing_mib = self.own_mib = self.worker_mib = 0.0
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
