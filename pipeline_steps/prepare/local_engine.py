"""The local engine: packs chunks in a pool of processes of this machine.

A picture may crash its worker (``colorizer.pictures.decoding_limits``). The pairs in flight are
then packed again, apart from the rest, and only one that crashes its worker again is rejected.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from colorizer.pictures.decoding_limits import wiped_memory
from pipeline_steps.base import signals
from pipeline_steps.base.process_pool import process_pool
from pipeline_steps.prepare.chunk_worker import (
    CHUNKS_PER_WORKER,
    CRASHES,
    Chunk,
    ChunkWorker,
    PackingJob,
    WaitingChunks,
)
from pipeline_steps.prepare.packing import PairFacts


def pack_in_processes(
    job: PackingJob, waiting: WaitingChunks, num_workers: int
) -> Iterator[list[PairFacts]]:
    """Yield the facts of each chunk, in order; a pool whose worker died is replaced.

    Chunks may be added to ``waiting`` while this runs.
    """
    while waiting:
        in_flight: deque[Chunk] = deque()
        try:
            yield from _pack_in_pool(job, waiting, in_flight, num_workers)
        except BrokenProcessPool:
            for chunk in in_flight:
                yield _pack_apart(job, chunk)


def _pack_in_pool(
    job: PackingJob, waiting: WaitingChunks, in_flight: deque[Chunk], num_workers: int
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


def _submit(pool: ProcessPoolExecutor, chunk: Chunk) -> Future[list[PairFacts]]:
    try:
        return pool.submit(_pack, chunk)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Python closes the pipes of a pool whose worker died while submit writes to them, or hands
        # them to another worker
        raise BrokenProcessPool(str(error)) from None


def _pack_apart(job: PackingJob, chunk: Chunk) -> list[PairFacts]:
    """Pack a chunk in a worker of its own; if that dies too, pair by pair."""
    alone = deque([chunk])
    try:
        (facts,) = _pack_in_pool(job, alone, deque(), 1)
    except BrokenProcessPool:
        if len(chunk.pairs) == 1:
            return [PairFacts(reason=CRASHES)]
        singles = [Chunk(number, [pair]) for number, pair in enumerate(chunk.pairs, chunk.start)]
        return [_pack_apart(job, single)[0] for single in singles]
    return facts


# --- in a worker ---------------------------------------------------------------------------------

_worker: ChunkWorker | None = None


def _start_worker(job: PackingJob) -> None:
    global _worker
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker = ChunkWorker(job)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)


def _pack(chunk: Chunk) -> list[PairFacts]:
    assert _worker is not None, "the pool's initializer has run"
    return _worker.pack(chunk)
