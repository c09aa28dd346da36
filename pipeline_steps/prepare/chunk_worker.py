"""What a worker does with a chunk of pairs, under any engine: pack them, write them, return facts.

A chunk holds names, and only facts come back: each worker opens the archive by itself and writes
its packed pairs at their places, so no pictures pass between processes, and the output doesn't
depend on which worker packed what. A chunk can be packed again: it gives the same bytes.
"""

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from colorizer.pictures.decoding_limits import (
    DECODING_LIMIT_S,
    decoding_bytes,
    limit_memory,
    time_limit,
)
from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare.archive_index import IndexedArchive
from pipeline_steps.prepare.crop_matching import shrink_truth
from pipeline_steps.prepare.packing import PairFacts
from pipeline_steps.prepare.pairing import ListedPair
from pipeline_steps.prepare.reading import PairRules

CHUNK_PAIRS = 8
CHUNKS_PER_WORKER = 3
"""In flight at once: enough to keep a worker busy, few enough to bound memory."""
CRASHES = "crashes or stalls its decoder"


class Chunk(NamedTuple):
    """Some pairs of the listing, in its order."""

    start: int
    """Number of the first pair."""
    pairs: Sequence[ListedPair]


class WaitingChunks(Protocol):
    """Chunks that wait to be packed: a ``deque``, or :class:`LazyChunks`."""

    def popleft(self) -> Chunk:
        """Take the first one."""

    def __len__(self) -> int: ...


class LazyChunks:
    """All pairs in chunks of ``CHUNK_PAIRS``, each made when it's taken."""

    def __init__(self, pairs: Sequence[ListedPair]) -> None:
        self._pairs = pairs
        self._start = 0

    def __len__(self) -> int:
        return -(-(len(self._pairs) - self._start) // CHUNK_PAIRS)

    def __iter__(self) -> Iterator[Chunk]:
        while self:
            yield self.popleft()

    def popleft(self) -> Chunk:
        """Take the first chunk that wasn't taken yet."""
        start, self._start = self._start, min(self._start + CHUNK_PAIRS, len(self._pairs))
        return Chunk(start, self._pairs[start : self._start])


PairPacker = Callable[[zipfile.ZipFile, ListedPair, PairRules], tuple[PairFacts, UInt8Array | None]]


@dataclass(frozen=True, kw_only=True)
class PackingJob:
    """What every worker needs: the same for all chunks."""

    archive: IndexedArchive
    pack: PairPacker
    rules: PairRules
    pairs_path: Path
    truths_path: Path


class ChunkWorker:
    """An open archive and the files that packed pairs and shrunk truths go to.

    Limits the memory of its process, so make it in one that does nothing else.
    """

    def __init__(self, job: PackingJob) -> None:
        self.job = job
        self.archive = job.archive.open()
        # a pair's two pictures are in memory at once
        limit_memory(2 * decoding_bytes(job.rules.max_picture_pixels))
        self.pairs = job.pairs_path.open("r+b", buffering=0)
        self.truths = job.truths_path.open("r+b", buffering=0)

    def pack(self, chunk: Chunk) -> list[PairFacts]:
        """Write the packed pairs of a chunk; return the facts of each pair.

        A pair that takes too long ends the process.
        """
        facts_of_pairs = []
        for number, pair in enumerate(chunk.pairs, chunk.start):
            with time_limit(2 * DECODING_LIMIT_S):  # a pair may be two pictures
                facts, packed = self.job.pack(self.archive, pair, self.job.rules)
            if packed is not None:
                _write_at(self.pairs.fileno(), number, packed)
                _write_at(self.truths.fileno(), number, shrink_truth(packed, facts.size))
            facts_of_pairs.append(facts)
        return facts_of_pairs


def _write_at(descriptor: int, number: int, pixels: UInt8Array) -> None:
    """Write the ``number``-th array of a file. A full disk raises; it would crash a mapped file."""
    data = np.ascontiguousarray(pixels).data.cast("B")
    offset = number * len(data)
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
