"""Packs all pairs of an archive on all cores, to one file on disk; only facts stay in memory.

Each worker opens the archive by itself and writes its packed pairs at their places, so no pictures
pass between processes, and the output doesn't depend on the number of workers.

A picture may crash its worker (``colorizer.pictures.decoding_limits``). The pairs in flight are
then packed again, apart from the rest, and only one that crashes its worker again is rejected.
"""

import multiprocessing
import os
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from colorizer.base.cores import count_cores
from colorizer.pictures.decoding_limits import (
    DECODING_LIMIT_S,
    decoding_bytes,
    limit_memory,
    time_limit,
    wiped_memory,
)
from pipeline_steps.base import signals
from pipeline_steps.base.process_pool import process_pool
from pipeline_steps.pairs.packed import NUM_CHANNELS, UInt8Array
from pipeline_steps.prepare.crop_matching import TRUTH_PX, shrink_truth
from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import ListedPair
from pipeline_steps.prepare.reading import PairRules

CHUNK_PAIRS = 8
CHUNKS_PER_WORKER = 3
"""In flight at once: enough to keep a worker busy, few enough to bound memory."""
CRASHES = "crashes or stalls its decoder"
TRUTH_SHAPE = (TRUTH_PX, TRUTH_PX, 3)


class _Chunk(NamedTuple):
    start: int
    """Number of the first pair."""
    pairs: Sequence[ListedPair]


PairPacker = Callable[[zipfile.ZipFile, ListedPair, PairRules], tuple[PairFacts, UInt8Array | None]]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every worker needs: the same for all chunks."""

    archive: Path
    pack: PairPacker
    rules: PairRules
    pairs_path: Path
    truths_path: Path


@dataclass(frozen=True, kw_only=True)
class UnsplitPairs:
    """All packed pairs in the work folder, by their numbers in the listing; not split yet."""

    facts: list[PairFacts]
    image_size: int
    pairs_path: Path
    truths_path: Path

    def read(self, numbers: Sequence[int]) -> Iterator[UInt8Array]:
        """Read packed pairs (S×S×4 ``uint8``) one at a time, in the order of ``numbers``."""
        shape = (self.image_size, self.image_size, NUM_CHANNELS)
        pair_bytes = int(np.prod(shape))
        with self.pairs_path.open("rb") as file:
            for number in numbers:
                file.seek(number * pair_bytes)
                yield np.frombuffer(file.read(pair_bytes), np.uint8).reshape(shape)

    def truths(self) -> UInt8Array:
        """Map all shrunk truths, N×``TRUTH_PX``×``TRUTH_PX``×3; those of rejected pairs are 0."""
        return np.memmap(
            self.truths_path, np.uint8, mode="r", shape=(len(self.facts), *TRUTH_SHAPE)
        )


def pack_pairs_in_pool(
    archive: Path,
    pairs: Sequence[ListedPair],
    rules: PairRules,
    work_folder: Path,
    *,
    workers: int | None = None,
    pack: PairPacker = pack_pair,
) -> UnsplitPairs:
    """Read, check and pack every pair; ``workers`` processes, by default one per core.

    The calling program must be importable (``if __name__ == "__main__"``), and so must ``pack``,
    since workers are spawned. Raises :class:`OSError` when the disk is full.
    """
    job = _Job(
        archive=archive,
        pack=pack,
        rules=rules,
        pairs_path=work_folder / "pairs",
        truths_path=work_folder / "truths",
    )
    _make_sparse(job.pairs_path, len(pairs) * rules.image_size**2 * NUM_CHANNELS)
    _make_sparse(job.truths_path, len(pairs) * int(np.prod(TRUTH_SHAPE)))
    chunks = [
        _Chunk(start, pairs[start : start + CHUNK_PAIRS])
        for start in range(0, len(pairs), CHUNK_PAIRS)
    ]
    num_workers = min(workers or count_cores(), len(chunks))
    facts: list[PairFacts] = []
    with tqdm(total=len(pairs), desc="prepare", unit="pair", mininterval=1) as bar:
        for chunk_facts in _pack_in_pools(job, chunks, num_workers):
            facts.extend(chunk_facts)
            bar.update(len(chunk_facts))
    return UnsplitPairs(
        facts=facts,
        image_size=rules.image_size,
        pairs_path=job.pairs_path,
        truths_path=job.truths_path,
    )


def _make_sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)


def _pack_in_pools(
    job: _Job, chunks: Sequence[_Chunk], num_workers: int
) -> Iterator[list[PairFacts]]:
    """Yield the facts of each chunk, in order; a pool whose worker died is replaced."""
    waiting = deque(chunks)
    while waiting:
        in_flight: deque[_Chunk] = deque()
        try:
            yield from _pack_in_pool(job, waiting, in_flight, num_workers)
        except BrokenProcessPool:
            for chunk in in_flight:
                yield _pack_apart(job, chunk)


def _pack_in_pool(
    job: _Job, waiting: deque[_Chunk], in_flight: deque[_Chunk], num_workers: int
) -> Iterator[list[PairFacts]]:
    """Pack the chunks of ``waiting``; ``in_flight`` holds those submitted and not yielded yet."""
    with process_pool(num_workers, initializer=_start_worker, initargs=(job,)) as pool:
        futures: deque[Future[list[PairFacts]]] = deque()
        while waiting or futures:
            while waiting and len(futures) < num_workers * CHUNKS_PER_WORKER:
                chunk = waiting.popleft()
                in_flight.append(chunk)
                # the first submit starts the workers
                with signals.kept_from_children(), wiped_memory():
                    futures.append(_submit(pool, chunk))
            facts = futures[0].result()
            futures.popleft()
            in_flight.popleft()
            yield facts


def _submit(pool: ProcessPoolExecutor, chunk: _Chunk) -> Future[list[PairFacts]]:
    try:
        return pool.submit(_pack, chunk)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Python closes the pipes of a pool whose worker died while submit writes to them, or hands
        # them to another worker
        raise BrokenProcessPool(str(error)) from None


def _pack_apart(job: _Job, chunk: _Chunk) -> list[PairFacts]:
    """Pack a chunk in a worker of its own; if that dies too, pair by pair."""
    alone = deque([chunk])
    try:
        (facts,) = _pack_in_pool(job, alone, deque(), 1)
    except BrokenProcessPool:
        if len(chunk.pairs) == 1:
            return [PairFacts(reason=CRASHES)]
        singles = [_Chunk(number, [pair]) for number, pair in enumerate(chunk.pairs, chunk.start)]
        return [_pack_apart(job, single)[0] for single in singles]
    return facts


# --- in a worker ---------------------------------------------------------------------------------


class _Worker:
    """An open archive and the files that packed pairs and shrunk truths go to."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.archive = zipfile.ZipFile(job.archive)
        self.pairs = job.pairs_path.open("r+b", buffering=0)
        self.truths = job.truths_path.open("r+b", buffering=0)

    def pack(self, chunk: _Chunk) -> list[PairFacts]:
        """Write the packed pairs of a chunk; return the facts of each pair."""
        facts_of_pairs = []
        for number, pair in enumerate(chunk.pairs, chunk.start):
            with time_limit(2 * DECODING_LIMIT_S):  # a pair may be two pictures
                facts, packed = self.job.pack(self.archive, pair, self.job.rules)
            if packed is not None:
                _write_at(self.pairs.fileno(), number, packed)
                _write_at(self.truths.fileno(), number, shrink_truth(packed, facts.size))
            facts_of_pairs.append(facts)
        return facts_of_pairs


_worker: _Worker | None = None


def _start_worker(job: _Job) -> None:
    global _worker
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # a pair's two pictures are in memory at once
    limit_memory(2 * decoding_bytes(job.rules.max_picture_pixels))
    _worker = _Worker(job)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)


def _pack(chunk: _Chunk) -> list[PairFacts]:
    assert _worker is not None, "the pool's initializer has run"
    return _worker.pack(chunk)


def _write_at(descriptor: int, number: int, pixels: UInt8Array) -> None:
    """Write the ``number``-th array of a file. A full disk raises; it would crash a mapped file."""
    data = np.ascontiguousarray(pixels).data.cast("B")
    offset = number * len(data)
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
