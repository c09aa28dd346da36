"""The worker processes: what they write, and what happens when one is lost."""

import io
import multiprocessing
import os
import signal
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare.pairing import Candidate, find_pairs
from pipeline_steps.prepare.reading import PairRules, RawPair, read_pair
from pipeline_steps.prepare.worker_pool import CHUNK_PAIRS, CRASHES, PairsOnDisk, read_pairs_in_pool

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
    staged = stage(tmp_path, 5, workers=1)
    assert [row[10, 10, 1] for row in staged.rows([4, 0, 2])] == [4, 0, 2]
    assert staged.thumbs()[3, 10, 10, 1] == 3


def stage(folder: Path, num_pairs: int, **options: Any) -> PairsOnDisk:
    archive_path = folder / "pairs.zip"
    write_archive(archive_path, num_pairs)
    with zipfile.ZipFile(archive_path) as archive:
        listing = find_pairs(archive.namelist())
    return read_pairs_in_pool(archive_path, listing.candidates, RULES, folder, **options)


def test_a_worker_killed_from_outside_costs_no_pair(tmp_path: Path) -> None:
    killer = threading.Thread(target=_kill_a_worker, daemon=True)
    killer.start()
    staged = stage(tmp_path, 10 * CHUNK_PAIRS, workers=2)
    killer.join(timeout=10)
    assert not multiprocessing.active_children()
    assert {facts.reason for facts in staged.facts} == {""}
    numbers = [0, 3, 10 * CHUNK_PAIRS - 1]
    assert [row[10, 10, 1] for row in staged.rows(numbers)] == numbers


def test_a_pair_that_kills_its_worker_is_rejected_and_the_rest_go_on(tmp_path: Path) -> None:
    staged = stage(tmp_path, 3 * CHUNK_PAIRS, workers=2, read=read_or_die)
    reasons = {number: facts.reason for number, facts in enumerate(staged.facts) if facts.reason}
    assert reasons == {5: CRASHES, 9: "too large: not enough memory"}
    assert [row[10, 10, 1] for row in staged.rows([4, 6])] == [4, 6]


def read_or_die(
    archive: zipfile.ZipFile, candidate: Candidate, rules: PairRules
) -> tuple[RawPair, UInt8Array | None]:
    """As a decoder would, were there a picture that it can't stand."""
    if candidate.id == "005":
        os.kill(os.getpid(), signal.SIGSEGV)
    if candidate.id == "009":
        rules = replace(rules, image_size=1 << 20)
    return read_pair(archive, candidate, rules)


def _kill_a_worker() -> None:
    for _ in range(1000):
        for child in multiprocessing.active_children():
            child.kill()
            return
        time.sleep(0.01)
