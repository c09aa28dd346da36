"""The worker processes: what they write, and what happens when one is lost."""

import io
import multiprocessing
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline_steps.errors import DataError
from pipeline_steps.raw_pairs import PairRules
from pipeline_steps.sources.pairing import find_pairs
from pipeline_steps.staging import CHUNK_PAIRS, stage_pairs

RULES = PairRules(image_size=32, sketch_side="right", max_picture_pixels=10_000)


def write_archive(path: Path, num_pairs: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(num_pairs):
            pixels = np.full((32, 64, 3), 255, np.uint8)
            pixels[8:24, 8:24] = (250, number, 0)
            pixels[8, 40:56] = 0
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            archive.writestr(f"{number:03}.png", file.getvalue())


def test_rows_come_back_by_their_numbers(tmp_path: Path) -> None:
    write_archive(tmp_path / "pairs.zip", 5)
    with zipfile.ZipFile(tmp_path / "pairs.zip") as archive:
        listing = find_pairs(archive.namelist())
    staged = stage_pairs(tmp_path / "pairs.zip", listing.candidates, RULES, tmp_path, workers=1)
    assert [row[10, 10, 1] for row in staged.rows([4, 0, 2])] == [4, 0, 2]
    assert staged.thumbs()[3, 10, 10, 1] == 3


def test_a_lost_worker_is_told_at_once(tmp_path: Path) -> None:
    write_archive(tmp_path / "pairs.zip", 20 * CHUNK_PAIRS)
    with zipfile.ZipFile(tmp_path / "pairs.zip") as archive:
        listing = find_pairs(archive.namelist())
    killer = threading.Thread(target=_kill_a_worker, daemon=True)
    killer.start()
    with pytest.raises(DataError, match=r"a worker died among '000\.png'"):
        stage_pairs(tmp_path / "pairs.zip", listing.candidates, RULES, tmp_path, workers=2)
    killer.join(timeout=10)
    assert not multiprocessing.active_children()


def _kill_a_worker() -> None:
    for _ in range(1000):
        for child in multiprocessing.active_children():
            child.kill()
            return
        time.sleep(0.01)
