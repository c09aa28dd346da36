"""The worker processes: what they write, and what happens when one is killed."""

import multiprocessing
import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorizer.pictures.decoding_limits import FILL_BYTE
from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare.archive_index import index_archive
from pipeline_steps.prepare.chunk_worker import CHUNK_PAIRS, CRASHES
from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import ListedPair, find_pairs
from pipeline_steps.prepare.reading import PairRules
from pipeline_steps.prepare.worker_pool import UnsplitPairs, pack_pairs_in_pool
from tests.colorizer.drawing import png
from tests.colorizer.pictures.damaged import Kind, damaged, originals
from tests.pipeline_steps.download.archive_bytes import zip_of

RULES = PairRules(image_size=32, sketch_side="right", max_picture_pixels=10_000)


def write_archive(path: Path, num_pairs: int) -> None:
    members = {}
    for number in range(num_pairs):
        pixels = np.full((32, 64, 3), 255, np.uint8)
        pixels[8:24, 8:24] = (250, number, 0)
        pixels[8, 40:56] = 0
        members[f"{number:03}.png"] = png(pixels)
    path.write_bytes(zip_of(members))


@pytest.mark.parametrize(
    "error", [OSError("handle is closed"), ValueError("bad value(s) in fds_to_keep")]
)
def test_a_pool_that_breaks_during_a_submit_is_replaced(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, errors = ProcessPoolExecutor.submit, [error]

    def submit(pool: ProcessPoolExecutor, *arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return real(pool, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    unsplit = pack_all(tmp_path, 5, workers=1)
    assert [pair[10, 10, 1] for pair in unsplit.read([4, 0, 2])] == [4, 0, 2]


def test_pairs_are_read_by_their_numbers(tmp_path: Path) -> None:
    unsplit = pack_all(tmp_path, 5, workers=1)
    assert [pair[10, 10, 1] for pair in unsplit.read([4, 0, 2])] == [4, 0, 2]
    assert unsplit.truths()[3, 20, 20, 1] == 3


def pack_all(folder: Path, num_pairs: int, **options: Any) -> UnsplitPairs:
    archive_path = folder / "pairs.zip"
    write_archive(archive_path, num_pairs)
    archive = index_archive(archive_path, folder)
    listing = find_pairs([member.filename for member in archive.members])
    return pack_pairs_in_pool(archive, listing.pairs, RULES, folder, **options)


def test_no_pair_is_lost_when_a_worker_is_killed(tmp_path: Path) -> None:
    killer = threading.Thread(target=_kill_a_worker, daemon=True)
    killer.start()
    unsplit = pack_all(tmp_path, 10 * CHUNK_PAIRS, workers=2)
    killer.join(timeout=10)
    assert not multiprocessing.active_children()
    assert {facts.reason for facts in unsplit.facts} == {""}
    numbers = [0, 3, 10 * CHUNK_PAIRS - 1]
    assert [pair[10, 10, 1] for pair in unsplit.read(numbers)] == numbers


def test_a_pair_that_crashes_its_worker_is_rejected_and_the_rest_are_packed(tmp_path: Path) -> None:
    unsplit = pack_all(tmp_path, 3 * CHUNK_PAIRS, workers=2, pack=pack_or_crash)
    reasons = {number: facts.reason for number, facts in enumerate(unsplit.facts) if facts.reason}
    assert reasons == {5: CRASHES, 9: "too large: not enough memory"}
    assert [pair[10, 10, 1] for pair in unsplit.read([4, 6])] == [4, 6]


def test_fresh_memory_of_a_worker_is_filled(tmp_path: Path) -> None:
    # so that what a decoder leaves unwritten is the same in each run
    unsplit = pack_all(tmp_path, 3, workers=1, pack=pack_unwritten)
    for pair in unsplit.read([0, 1, 2]):
        assert (pair == FILL_BYTE ^ 0xFF).all()


def pack_unwritten(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    facts, packed = pack_pair(archive, pair, rules)
    assert packed is not None
    return facts, np.empty_like(packed)


def test_damaged_tiffs_are_rejected_and_the_rest_packed_alike_by_any_workers(
    tmp_path: Path,
) -> None:
    archive_path = tmp_path / "tiffs.zip"
    sketches = list(damaged(Kind("TIFF", "group4"), 12, 3)) + originals(Kind("TIFF", "group4"))
    members: dict[str, bytes] = {}
    for number, sketch in enumerate(sketches):
        colour = png(np.full((50, 37, 3), (250, number, 0), np.uint8))
        members |= {f"colour/{number}.tif": colour, f"sketch/{number}.tif": sketch}
    archive_path.write_bytes(zip_of(members))
    listing = find_pairs(list(members))
    rules = replace(RULES, sketch_side=None)
    runs = []
    for workers in (1, 2):
        archive = index_archive(archive_path, tmp_path)
        unsplit = pack_pairs_in_pool(archive, listing.pairs, rules, tmp_path, workers=workers)
        runs.append((unsplit.pairs_path.read_bytes(), [fact.reason for fact in unsplit.facts]))
    assert runs[0] == runs[1]
    assert sum("damaged or incomplete" in reason for reason in runs[0][1]) > 3


def pack_or_crash(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    """Simulates a picture that crashes its decoder."""
    if pair.id == "005":
        os.kill(os.getpid(), signal.SIGSEGV)
    if pair.id == "009":
        rules = replace(rules, image_size=1 << 20)
    return pack_pair(archive, pair, rules)


def _kill_a_worker() -> None:
    for _ in range(1000):
        for child in multiprocessing.active_children():
            child.kill()
            return
        time.sleep(0.01)
