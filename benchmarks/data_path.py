"""Time the data path: raw PNG → packed pairs, and packed pairs → augmented batches.

    python -m benchmarks.data_path [--pairs 200]

The peer's loader (its ``aligned_dataset``) is reimplemented here: open with PIL, convert, crop the
halves, resize both to 286 px (bicubic), crop 256 px, flip, convert to float tensors. It does so in
every epoch. ``prepare`` reads, checks, resizes and packs each pair once, as its workers do. Both
run in one process on one core, so that their ratio is that of the work.
"""

import argparse
import io
import random
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import spread
from pipeline_steps.pairs.packed import PackedPairs, read_pairs, write_pairs
from pipeline_steps.prepare.packing import pack_pair
from pipeline_steps.prepare.pairing import find_pairs
from pipeline_steps.prepare.reading import PairRules
from pipeline_steps.train.augmentation import jitter, plan_epoch
from pipeline_steps.train.batches import read_batches

IMAGE_SIZE, LOAD_SIZE = 256, 286
PICTURE = (1024, 512)  # width and height in pixels
BATCH_SIZE = 16
ROUNDS = 5
CPU = torch.device("cpu")


def main() -> None:
    """Draw pairs, then time each method on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64, help=f"a multiple of {BATCH_SIZE}")
    num_pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    pngs = [draw_png(number) for number in range(num_pairs)]
    size = statistics.mean(map(len, pngs)) / 1024
    print(f"{num_pairs} pairs of {PICTURE[0]}×{PICTURE[1]} PNG, {size:.0f} KiB each, one core")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "pairs.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for number, png in enumerate(pngs):
                file.writestr(f"{number}.png", png)
        pairs = pack_random(Path(folder) / "train.npy", num_pairs)
        methods: dict[str, Callable[[], object]] = {
            "peer's loader, every epoch": lambda: [load_as_peer(png) for png in pngs],
            "prepare, once": lambda: prepare_all(archive),
            "decoding alone (PIL)": lambda: [decode(png) for png in pngs],
            "packed reader with augmentation": lambda: read_epoch(pairs),
        }
        rates = time_interleaved(methods, num_pairs)
    reference = statistics.median(rates["peer's loader, every epoch"])
    for name, values in rates.items():
        ratio = statistics.median(values) / reference
        print(f"  {name:<34}{spread(values)!s:<24} pairs/s  {ratio:.2f}×")


def time_interleaved(
    methods: dict[str, Callable[[], object]], num_pairs: int
) -> dict[str, list[float]]:
    """Pairs/s of each method, one value per round; the methods alternate."""
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, work in methods.items():
            start_s = time.perf_counter()
            work()
            rates[name].append(num_pairs / (time.perf_counter() - start_s))
    return rates


def draw_png(number: int) -> bytes:
    """Draw a PNG of flat areas, lines and a little noise, with its greyscale on the right."""
    random_state = np.random.default_rng(number)
    size = (PICTURE[0] // 2, PICTURE[1])
    small = random_state.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    colour = np.array(Image.fromarray(small).resize(size, Image.Resampling.NEAREST))
    colour[random_state.random(colour.shape[:2]) < 0.05] = 0
    grey = np.array(Image.fromarray(colour).convert("L").convert("RGB"))
    file = io.BytesIO()
    Image.fromarray(np.concatenate([colour, grey], axis=1)).save(file, "PNG")
    return file.getvalue()


def prepare_all(path: Path) -> None:
    """Read, check and pack every pair of an archive, as a worker of ``prepare`` does."""
    rules = PairRules(image_size=IMAGE_SIZE, sketch_side="right", max_picture_pixels=10**8)
    with zipfile.ZipFile(path) as archive:
        for pair in find_pairs(archive.namelist()).pairs:
            facts, _ = pack_pair(archive, pair, rules)
            assert not facts.reason, facts.reason


def decode(png: bytes) -> Image.Image:
    """Decode a PNG to RGB."""
    return Image.open(io.BytesIO(png)).convert("RGB")


def load_as_peer(png: bytes) -> torch.Tensor:
    """PNG → 6×256×256 float32 in −1..1 (both halves), with the peer's augmentation."""
    both = decode(png)
    half = both.width // 2
    x, y = random.randint(0, LOAD_SIZE - IMAGE_SIZE), random.randint(0, LOAD_SIZE - IMAGE_SIZE)
    mirrored = random.random() > 0.5
    tensors = []
    for left in (0, half):
        picture = both.crop((left, 0, left + half, both.height))
        picture = picture.resize((LOAD_SIZE, LOAD_SIZE), Image.Resampling.BICUBIC)
        picture = picture.crop((x, y, x + IMAGE_SIZE, y + IMAGE_SIZE))
        if mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
        tensors.append((values.float() / 255 - 0.5) / 0.5)
    return torch.cat(tensors)


def pack_random(path: Path, num_pairs: int) -> PackedPairs:
    """Write a packed split of noise, which takes as long to read as any other."""
    shape = (IMAGE_SIZE, IMAGE_SIZE, 4)
    random_state = np.random.default_rng(0)
    noise = (random_state.integers(0, 256, shape, dtype=np.uint8) for _ in range(num_pairs))
    write_pairs(path, noise, num_pairs=num_pairs, image_size=IMAGE_SIZE)
    return read_pairs(path)


def read_epoch(pairs: PackedPairs) -> None:
    """Read every pair once, augmented, as training does."""
    plan = plan_epoch(
        seed=1,
        epoch=0,
        num_pairs=len(pairs),
        load_size=LOAD_SIZE,
        image_size=IMAGE_SIZE,
        flip=True,
    )
    num_batches = len(pairs) // BATCH_SIZE
    positions = torch.arange(num_batches * BATCH_SIZE).view(num_batches, BATCH_SIZE)
    batches = read_batches(pairs, None, plan.order[positions], CPU)
    for chosen, batch in zip(positions, batches, strict=True):
        jitter(batch, plan.corners[chosen], plan.mirrored[chosen], LOAD_SIZE)


if __name__ == "__main__":
    main()
