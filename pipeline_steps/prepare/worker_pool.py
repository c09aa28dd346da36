"""All pairs of an archive through all cores, to a file of rows on disk; only facts in memory.

Each worker opens the archive by itself and writes its rows where they belong, so neither pictures
nor rows pass between processes, and what comes out doesn't depend on how many there are.

A picture may crash its worker (``colorizer.pictures.decoding_limits``). What was in flight is then
read again apart from the rest, and only a pair that crashes its worker again is rejected.
"""

import multiprocessing
import os
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from colorizer.pictures.decoding_limits import (
    DECODING_LIMIT_S,
    decoding_bytes,
    limit_memory,
    time_limit,
)
from pipeline_steps.base import signals
from pipeline_steps.pairs.packed import NUM_CHANNELS, UInt8Array
from pipeline_steps.prepare.duplicates import THUMB_PX, thumbnail
from pipeline_steps.prepare.pairing import Candidate
from pipeline_steps.prepare.reading import PairRules, RawPair, read_pair

CHUNK_PAIRS = 8
CHUNKS_PER_WORKER = 3
"""In flight at once: enough to keep a worker busy, few enough to bound memory."""
CRASHES = "crashes or stalls its decoder"
THUMB_SHAPE = (THUMB_PX, THUMB_PX, NUM_CHANNELS)


class _Chunk(NamedTuple):
    start: int
    """Number of the first candidate."""
    candidates: Sequence[Candidate]


PairReader = Callable[[zipfile.ZipFile, Candidate, PairRules], tuple[RawPair, UInt8Array | None]]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What every worker needs to know."""

    archive: Path
    read: PairReader
    rules: PairRules
    rows: Path
    thumbs: Path


@dataclass(frozen=True, kw_only=True)
class PairsOnDisk:
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


def read_pairs_in_pool(
    archive: Path,
    candidates: Sequence[Candidate],
    rules: PairRules,
    work_folder: Path,
    *,
    workers: int | None = None,
    read: PairReader = read_pair,
) -> PairsOnDisk:
    """Read, judge and pack every candidate; ``workers`` processes, by default one a core.

    The calling program must be importable (``if __name__ == "__main__"``), and so must ``read``,
    since workers are spawned. Raises :class:`OSError` when the disk is full.
    """
    order = _Order(
        archive=archive,
        read=read,
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
        for chunk_facts in _stage_in_pools(order, chunks, num_workers):
            facts.extend(chunk_facts)
            bar.update(len(chunk_facts))
    return PairsOnDisk(
        facts=facts,
        image_size=rules.image_size,
        rows_path=order.rows,
        thumbs_path=order.thumbs,
    )


def _make_sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)


def _stage_in_pools(
    order: _Order, chunks: Sequence[_Chunk], num_workers: int
) -> Iterator[list[RawPair]]:
    """Yield the facts of each chunk, in order; a pool whose worker died is followed by another."""
    waiting = deque(chunks)
    while waiting:
        in_flight: deque[_Chunk] = deque()
        try:
            yield from _stage_in_pool(order, waiting, in_flight, num_workers)
        except BrokenProcessPool:
            for chunk in in_flight:
                yield _stage_apart(order, chunk)


def _stage_in_pool(
    order: _Order, waiting: deque[_Chunk], in_flight: deque[_Chunk], num_workers: int
) -> Iterator[list[RawPair]]:
    """Work off ``waiting``; ``in_flight`` holds what was begun and not yielded."""
    with _pool(order, num_workers) as pool:
        futures: deque[Future[list[RawPair]]] = deque()
        while waiting or futures:
            while waiting and len(futures) < num_workers * CHUNKS_PER_WORKER:
                chunk = waiting.popleft()
                in_flight.append(chunk)
                with signals.kept_from_children():  # the first one starts them
                    futures.append(pool.submit(_stage, chunk))
            facts = futures[0].result()
            futures.popleft()
            in_flight.popleft()
            yield facts


def _stage_apart(order: _Order, chunk: _Chunk) -> list[RawPair]:
    """Stage a chunk in a worker of its own; if that dies too, pair by pair."""
    alone = deque([chunk])
    try:
        (facts,) = _stage_in_pool(order, alone, deque(), 1)
    except BrokenProcessPool:
        if len(chunk.candidates) == 1:
            return [RawPair(reason=CRASHES)]
        singles = [
            _Chunk(number, [candidate])
            for number, candidate in enumerate(chunk.candidates, chunk.start)
        ]
        return [_stage_apart(order, single)[0] for single in singles]
    return facts


@contextmanager
def _pool(order: _Order, num_workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(order,),
    )
    try:
        yield pool
    except BrokenProcessPool:
        # a worker that was just being spawned is not told, and the pool would wait for it for ever
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# --- in a worker ---------------------------------------------------------------------------------


class _Worker:
    """An open archive and the files that rows go to."""

    def __init__(self, order: _Order) -> None:
        self.order = order
        self.archive = zipfile.ZipFile(order.archive)
        self.rows = order.rows.open("r+b", buffering=0)
        self.thumbs = order.thumbs.open("r+b", buffering=0)

    def stage(self, chunk: _Chunk) -> list[RawPair]:
        """Write the rows of a chunk; return the facts of each pair."""
        facts = []
        for number, candidate in enumerate(chunk.candidates, chunk.start):
            with time_limit(2 * DECODING_LIMIT_S):  # a pair may be two pictures
                raw_pair, row = self.order.read(self.archive, candidate, self.order.rules)
            if row is not None:
                _write_at(self.rows.fileno(), number, row)
                _write_at(self.thumbs.fileno(), number, thumbnail(row))
            facts.append(raw_pair)
        return facts


_worker: _Worker | None = None


def _start_worker(order: _Order) -> None:
    global _worker
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # a pair's two pictures are there at once
    limit_memory(2 * decoding_bytes(order.rules.max_picture_pixels))
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
