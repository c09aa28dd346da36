"""Measure what reads training pairs: memory and pairs/s, packed and in shards, by number of pairs.

    python -m benchmarks.shards --pairs 10000 100000 1000000
    python -m benchmarks.shards --pairs 100000 --s3 s3://bucket/prefix   # from an S3 server too
    python -m benchmarks.shards --encodings                              # of a pair: .npy and PNG

Pairs are noise at 32 px, so that a million fit on a disk. Each side reads an epoch in a process of
its own, with the system's cache of its files dropped before; the sides alternate. Peaks are of
anonymous memory, as :mod:`benchmarks.prepare_memory` samples them, torch's and numpy's included.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu import draw_packed
from benchmarks.prepare_memory import Peaks
from benchmarks.timing import ratios, spread
from pipeline_steps.pairs.packed import UInt8Array, sample_rows, write_pairs
from pipeline_steps.pairs.shard_places import open_place
from pipeline_steps.pairs.shards import (
    Shard,
    ShardList,
    describe_shard,
    read_shard_list,
    shard_blocks,
    write_shard_list,
)
from pipeline_steps.pairs.train_split import TrainPairs, read_train_pairs
from pipeline_steps.train.augmentation import plan_epoch

IMAGE_SIZE = 32
BATCH_SIZE = 16
SHARD_PAIRS = 4096
SHUFFLE_SHARDS = 8
SIDES = {
    "packed, all shuffled": ("packed", 0, 1),
    "packed, windows": ("packed", SHUFFLE_SHARDS, 1),
    "shards, windows, checked": ("folder", SHUFFLE_SHARDS, 1),
    "shards, windows, again": ("folder", SHUFFLE_SHARDS, 2),
    "shards, all shuffled": ("folder", 0, 1),
}
"""Where pairs are, how many shards are shuffled together, and which epoch is timed: in the first,
shards are compared with their sha256."""


def main() -> None:
    """Write sets of several sizes, and read each by all sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--s3", help="an s3:// address for a copy of the shards; not deleted")
    parser.add_argument("--folder", type=Path, help="where sets are written, kept and found again")
    parser.add_argument("--encodings", action="store_true", help="compare encodings of a pair")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        folder, side = arguments.inside
        print(json.dumps(measure(Path(folder), *json.loads(side))))
    elif arguments.encodings:
        compare_encodings()
    else:
        for num_pairs in arguments.pairs:
            with tempfile.TemporaryDirectory() as temporary:
                folder = (arguments.folder or Path(temporary)) / str(num_pairs)
                write_sets(folder, num_pairs, arguments.s3)
                if arguments.rounds:
                    sides = {name: SIDES[name] for name in arguments.sides}
                    if arguments.s3:
                        sides["shards in S3, windows"] = ("s3", SHUFFLE_SHARDS, 1)
                    compare_sides(folder, num_pairs, sides, arguments.rounds)


def compare_sides(
    folder: Path, num_pairs: int, sides: dict[str, tuple[str, int, int]], rounds: int
) -> None:
    """Print memory and rates of the sides, for one number of pairs; ratios to the first."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    peaks: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            drop_cache(folder)
            command = [sys.executable, "-m", "benchmarks.shards"]
            command += ["--inside", str(folder), json.dumps(side)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            rates[name].append(found["pairs_per_s"])
            peaks[name].append(found["peak_mib"])
    print(f"{num_pairs} pairs of {IMAGE_SIZE} px, batches of {BATCH_SIZE}")
    for name, values in rates.items():
        ratio = ratios(values, next(iter(rates.values())))
        memory = f"{max(peaks[name]):.0f} MiB"
        print(f"  {name:<26}{memory:>9}  {spread(values)!s:<30} pairs/s  {ratio}×", flush=True)


def write_sets(folder: Path, num_pairs: int, s3: str | None) -> None:
    """Write the same pairs packed, as shards in a folder, and as shards in S3."""
    if (folder / "s3.json").exists() and not s3:
        return
    write_pairs(
        folder / "packed.npy",
        draw(range(num_pairs)),
        num_pairs=num_pairs,
        image_size=IMAGE_SIZE,
    )
    rows = sample_rows(num_pairs).tolist()
    write_pairs(folder / "sample.npy", draw(rows), num_pairs=len(rows), image_size=IMAGE_SIZE)
    addresses = {"packed": None, "folder": str(folder / "shards"), "s3": s3}
    for name, address in addresses.items():
        shards = write_shards(address, num_pairs) if address else ()
        listed = ShardList(
            shard_pairs=SHARD_PAIRS, image_size=IMAGE_SIZE, address=address, shards=shards
        )
        write_shard_list(folder / f"{name}.json", listed)


def write_shards(address: str, num_pairs: int) -> tuple[Shard, ...]:
    """Write the pairs as shards at an address."""
    place = open_place(address)
    shards = []
    for number, first in enumerate(range(0, num_pairs, SHARD_PAIRS)):
        rows = range(first, min(first + SHARD_PAIRS, num_pairs))
        shard = describe_shard(
            draw(rows),
            number=number,
            first_row=first,
            num_pairs=len(rows),
            image_size=IMAGE_SIZE,
        )
        if not place.holds(shard):
            place.put(shard, shard_blocks(draw(rows), first, IMAGE_SIZE))
        shards.append(shard)
    return tuple(shards)


def draw(rows: range | list[int]) -> Iterator[UInt8Array]:
    """Pairs of noise, each with its row in it."""
    noise = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 4), np.uint8)
    for row in rows:
        pair = noise.copy()
        pair.reshape(-1)[:8] = np.frombuffer(row.to_bytes(8, "little"), np.uint8)
        yield pair


def drop_cache(folder: Path) -> None:
    """Have the system forget what it holds of the files."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def measure(folder: Path, kind: str, shuffle_shards: int, epoch: int) -> dict[str, float]:
    """Read the ``epoch``-th epoch; its pairs/s, and the process's peak memory in MiB."""
    peaks = Peaks()
    peaks.start()
    listed = read_shard_list(folder / f"{kind}.json")
    path = folder / ("sample.npy" if listed.address else "packed.npy")
    pairs = read_train_pairs(path, listed, shuffle_shards=shuffle_shards)
    for number in range(epoch):
        start_s = time.perf_counter()
        read_epoch(pairs, number, shuffle_shards)
        rate = len(pairs) / (time.perf_counter() - start_s)
    peaks.stop()
    return {"pairs_per_s": rate, "peak_mib": peaks.own_mib}


def read_epoch(pairs: TrainPairs, epoch: int, shuffle_shards: int) -> None:
    """Plan and read an epoch as a training does; check that the pairs are those of the plan."""
    plan = plan_epoch(
        seed=1,
        epoch=epoch,
        num_pairs=len(pairs),
        load_size=IMAGE_SIZE + 4,
        image_size=IMAGE_SIZE,
        flip=True,
        shard_pairs=SHARD_PAIRS,
        shuffle_shards=shuffle_shards,
    )
    num_batches = len(pairs) // BATCH_SIZE
    batches = plan.order[: num_batches * BATCH_SIZE].view(num_batches, BATCH_SIZE).numpy()
    for indices, pixels in zip(batches, pairs.stream(batches), strict=True):
        rows = pixels.reshape(BATCH_SIZE, -1)[:, :8].copy().view(np.int64)[:, 0]
        assert np.array_equal(rows, indices)


def compare_encodings() -> None:
    """Print bytes of a drawn pair at 128 px, and the time to read it: raw and as PNG."""
    pairs = [draw_packed(number) for number in range(32)]
    encodings: dict[str, tuple[Callable[[UInt8Array], bytes], Callable[[bytes], UInt8Array]]] = {
        ".npy": (npy_bytes, lambda data: np.load(io.BytesIO(data))),
        "PNG": (png_bytes, lambda data: np.array(Image.open(io.BytesIO(data)))),
    }
    for name, (encode, decode) in encodings.items():
        encoded = [encode(pair) for pair in pairs]
        times_s = []
        for _ in range(5):
            start_s = time.perf_counter()
            decoded = [decode(data) for data in encoded]
            times_s.append((time.perf_counter() - start_s) / len(pairs))
            assert np.array_equal(decoded, pairs)
        size = sum(map(len, encoded)) / len(encoded)
        print(f"  {name:<6}{size:>9.0f} bytes  {spread([1000 * each for each in times_s])} ms")


def npy_bytes(pair: UInt8Array) -> bytes:
    """A pair as a member of a shard."""
    file = io.BytesIO()
    np.save(file, pair)
    return file.getvalue()


def png_bytes(pair: UInt8Array) -> bytes:
    """A pair's four channels as RGBA."""
    file = io.BytesIO()
    Image.fromarray(pair).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
