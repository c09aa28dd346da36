"""The sample: pairs of anime-like characters that the project draws itself.

The zip has the layout of the Kaggle archive ``ktaebum/anime-sketch-colorization-pair``: every
picture is 1024×512 (width × height), the colour picture on the left and its sketch on the right. A
JSON file for each holds the dominant colours of four horizontal strips. A character depends only on
the seed and its index.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from colorizer.base.cores import count_cores
from colorizer.base.files import atomic_path
from colorizer.base.zip_entries import zip_entry
from pipeline_steps.base import signals
from pipeline_steps.base.errors import ParamError, SourceError
from pipeline_steps.base.process_pool import process_pool
from pipeline_steps.drawing.brush import SIDE
from pipeline_steps.drawing.character import draw_pair

FIRST_ID = 1_000_001
STRIPS = 4
COLOURS_PER_STRIP = 4
MAX_PAIRS = 1_000_000
PNG_COMPRESSION = 6
"""zlib's level, 0..9."""

Colorgram = dict[str, dict[str, list[int]]]


class _Task(NamedTuple):
    """The pair that a worker draws."""

    seed: int
    number: int


class _EncodedPair(NamedTuple):
    """What a worker returns: the files of one pair."""

    png: bytes
    colorgram: bytes


def write_sample(target: Path, *, train_pairs: int, test_pairs: int, seed: int) -> None:
    """Draw the pairs and write them to the zip ``target``, whole or not at all.

    Equal arguments give equal bytes, whatever the number of cores. ``train_pairs`` and
    ``test_pairs`` are 1 or more, ``seed`` 0 or more. The ids count up from ``FIRST_ID``, the
    training pairs first. Raises :class:`ParamError` for other numbers, :class:`SourceError` when
    a worker process is killed.
    """
    _check("download.sample_train_pairs", train_pairs, low=1, high=MAX_PAIRS)
    _check("download.sample_test_pairs", test_pairs, low=1, high=MAX_PAIRS)
    _check("download.sample_seed", seed, low=0, high=2**31 - 1)
    total = train_pairs + test_pairs
    tasks = [_Task(seed, number) for number in range(total)]
    with (
        atomic_path(target) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
        _pool(total) as pool,
        tqdm(total=total, desc="sample", unit="pair", mininterval=1) as bar,
    ):
        drawn = []
        with signals.kept_from_children():  # the first task starts the workers
            results = pool.map(_draw, tasks, chunksize=4)
        for pair in results:
            drawn.append(pair)
            bar.update()
        for index, pair in enumerate(drawn):
            _add(archive, f"data/colorgram/{FIRST_ID + index}.json", pair.colorgram)
        for index, pair in enumerate(drawn):
            split = "train" if index < train_pairs else "val"
            _add(archive, f"data/{split}/{FIRST_ID + index}.png", pair.png)


def colorgram_of(picture: Image.Image) -> Colorgram:
    """Return the four dominant colours of each of four strips, from top to bottom."""
    height = picture.height // STRIPS
    strips = (picture.crop((0, k * height, picture.width, (k + 1) * height)) for k in range(STRIPS))
    return {str(k): _dominant(strip) for k, strip in enumerate(strips)}


def _check(name: str, value: int, *, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParamError(f"{name}: must be an integer, got {value!r}")
    if not low <= value <= high:
        bound = f"≥ {low}" if value < low else f"≤ {high}"
        raise ParamError(f"{name}: must be {bound}, got {value}")


@contextmanager
def _pool(num_pairs: int) -> Iterator[ProcessPoolExecutor]:
    num_workers = min(count_cores(), num_pairs)
    try:
        with process_pool(num_workers, initializer=signals.die_with_parent) as pool:
            yield pool
    except BrokenProcessPool:
        raise SourceError("a worker process that draws the sample was killed: run again") from None


def _draw(task: _Task) -> _EncodedPair:
    colour, sketch = draw_pair(task.seed, task.number)
    pair = Image.new("RGB", (2 * SIDE, SIDE))
    pair.paste(colour, (0, 0))
    pair.paste(sketch.convert("RGB"), (SIDE, 0))
    png = io.BytesIO()
    # Pillow's default strategy for filtered rows makes flat colours 5 % larger
    pair.save(png, "PNG", compress_level=PNG_COMPRESSION, compress_type=zlib.Z_DEFAULT_STRATEGY)
    return _EncodedPair(png.getvalue(), json.dumps(colorgram_of(colour)).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zip_entry(name), content)


def _dominant(strip: Image.Image) -> dict[str, list[int]]:
    # a strip may have fewer colours than four: the commonest is then repeated
    quantized = strip.reduce(2).quantize(COLOURS_PER_STRIP, method=Image.Quantize.MEDIANCUT)
    palette = quantized.getpalette() or []
    counts = np.bincount(np.asarray(quantized).ravel(), minlength=COLOURS_PER_STRIP)
    commonest = [int(entry) for entry in np.argsort(-counts, kind="stable") if counts[entry]]
    colours = [palette[3 * entry : 3 * entry + 3] for entry in commonest]
    colours += [colours[0]] * (COLOURS_PER_STRIP - len(colours))
    return {str(k): colour for k, colour in enumerate(colours)}
