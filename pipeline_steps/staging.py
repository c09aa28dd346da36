"""All pairs of an archive through all cores, to a file of rows on disk; only facts in memory.

Each worker opens the archive by itself and writes its rows where they belong, so neither pictures
nor rows pass between processes, and what comes out doesn't depend on how many there are.
"""

import multiprocessing
import os
import threading
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline_steps import interruption
from pipeline_steps.duplicates import THUMB_PX, thumbnail
from pipeline_steps.errors import DataError
from pipeline_steps.pairs import NUM_CHANNELS, UInt8Array
from pipeline_steps.raw_pairs import PairRules, RawPair, read_pair
from pipeline_steps.sources.pairing import Candidate

CHUNK_PAIRS = 8
CHUNKS_A_WORKER = 3
"""In flight at once: enough to keep a worker busy, few enough to bound memory."""
THUMB_SHAPE = (THUMB_PX, THUMB_PX, NUM_CHANNELS)


class _Chunk(NamedTuple):
    start: int
    """Number of the first candidate."""
    candidates: Sequence[Candidate]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What every worker needs to know."""

    archive: Path
    rules: PairRules
    rows: Path
    thumbs: Path


@dataclass(frozen=True, kw_only=True)
class StagedPairs:
    """The pairs as they lie in the work folder, by the candidates' numbers."""

    facts: list[RawPair]
    image_size: int
    rows_path: Path
    thumbs_path: Path

    def rows(self, numbers: Sequence[int]) -> Iterator[UInt8Array]:
        """Read rows (S×S×4 ``uint8``) one at a time, in the order asked for."""
        shape = (self.image_size, self.image_size, NUM_CHANNELS)
        row_bytes = int(np.prod(shape))
        with self.rows_path.open("rb") as file:
            for number in numbers:
                file.seek(number * row_bytes)
                yield np.frombuffer(file.read(row_bytes), np.uint8).reshape(shape)

    def thumbs(self) -> UInt8Array:
        """Map all thumbnails, N×``THUMB_PX``×``THUMB_PX``×4; those of rejected pairs are 0."""
        return np.memmap(
            self.thumbs_path, np.uint8, mode="r", shape=(len(self.facts), *THUMB_SHAPE)
        )


def stage_pairs(
    archive: Path,
    candidates: Sequence[Candidate],
    rules: PairRules,
    work_folder: Path,
    *,
    workers: int | None = None,
) -> StagedPairs:
    """Read, judge and pack every candidate; ``workers`` processes, by default one a core.

    One worker, or few pairs, are read in this process. The calling program must be importable
    (``if __name__ == "__main__"``), since workers are spawned. Raises :class:`DataError` when a
    worker dies, :class:`OSError` when the disk is full.
    """
    order = _Order(
        archive=archive,
        rules=rules,
        rows=work_folder / "rows",
        thumbs=work_folder / "thumbs",
    )
    _make_sparse(order.rows, len(candidates) * rules.image_size**2 * NUM_CHANNELS)
    _make_sparse(order.thumbs, len(candidates) * int(np.prod(THUMB_SHAPE)))
    chunks = [
        _Chunk(start, candidates[start : start + CHUNK_PAIRS])
        for start in range(0, len(candidates), CHUNK_PAIRS)
    ]
    num_workers = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    facts: list[RawPair] = []
    with tqdm(total=len(candidates), desc="prepare", unit="pair", mininterval=1) as bar:
        staged = _stage_here(order, chunks)
        if num_workers > 1:
            staged = _stage_in_pool(order, chunks, num_workers)
        for chunk_facts in staged:
            facts.extend(chunk_facts)
            bar.update(len(chunk_facts))
    return StagedPairs(
        facts=facts,
        image_size=rules.image_size,
        rows_path=order.rows,
        thumbs_path=order.thumbs,
    )


def _make_sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)


def _stage_here(order: _Order, chunks: Sequence[_Chunk]) -> Iterator[list[RawPair]]:
    worker = _Worker(order)
    try:
        for chunk in chunks:
            yield worker.stage(chunk)
    finally:
        worker.close()


def _stage_in_pool(
    order: _Order, chunks: Sequence[_Chunk], num_workers: int
) -> Iterator[list[RawPair]]:
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(order,),
    )
    in_flight: deque[tuple[_Chunk, Future[list[RawPair]]]] = deque()
    waiting = iter(chunks)
    try:
        while True:
            while len(in_flight) < num_workers * CHUNKS_A_WORKER and (chunk := next(waiting, None)):
                with interruption.kept_from_children():  # the first one starts them
                    in_flight.append((chunk, pool.submit(_stage, chunk)))
            if not in_flight:
                return
            yield in_flight[0][1].result()
            in_flight.popleft()
    except BrokenProcessPool:
        # a worker that was just being spawned is not told, and the pool would wait for it for ever
        for child in multiprocessing.active_children():
            child.kill()
        suspects = [candidate for chunk, _ in in_flight for candidate in chunk.candidates]
        raise DataError(
            f"{order.archive}: a worker died among {suspects[0].member.name!r} to"
            f" {suspects[-1].member.name!r} (out of memory, or a picture that crashes its decoder);"
            " lower prepare.max_picture_pixels or take the picture out"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# --- in a worker ---------------------------------------------------------------------------------


class _Worker:
    """An open archive and the files that rows go to."""

    def __init__(self, order: _Order) -> None:
        self.rules = order.rules
        self.archive = zipfile.ZipFile(order.archive)
        self.rows = order.rows.open("r+b", buffering=0)
        self.thumbs = order.thumbs.open("r+b", buffering=0)

    def close(self) -> None:
        """Close all files; a worker process leaves that to its end."""
        for file in (self.archive, self.rows, self.thumbs):
            file.close()

    def stage(self, chunk: _Chunk) -> list[RawPair]:
        """Write the rows of a chunk; return the facts of each pair."""
        facts = []
        for number, candidate in enumerate(chunk.candidates, chunk.start):
            raw_pair, row = read_pair(self.archive, candidate, self.rules)
            if row is not None:
                _write_at(self.rows.fileno(), number, row)
                _write_at(self.thumbs.fileno(), number, thumbnail(row))
            facts.append(raw_pair)
        return facts


_worker: _Worker | None = None


def _start_worker(order: _Order) -> None:
    global _worker
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker = _Worker(order)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)


def _stage(chunk: _Chunk) -> list[RawPair]:
    assert _worker is not None, "the pool's initializer has run"
    return _worker.stage(chunk)


def _write_at(descriptor: int, number: int, row: UInt8Array) -> None:
    """Write the whole row at its place; a mapped file would die, not raise, on a full disk."""
    data = np.ascontiguousarray(row).data.cast("B")
    offset = number * len(data)
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
