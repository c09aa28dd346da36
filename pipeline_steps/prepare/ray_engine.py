"""The Ray engine: packs chunks by actors on a cluster, one per processor.

The archive and the work folder must lie on storage that all machines of the cluster share, at the
same paths: actors read the one and write to the other by themselves.

In each actor the local engine runs with one worker process, so the limits on memory and time, and
what becomes of a picture that crashes its worker, are the same. An actor that dies is the cluster's
fault and no picture's: its chunks are packed again by another one.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

from colorizer.base.ray_actors import ActorPool
from colorizer.base.ray_cluster import end_own_cluster, ray_cluster
from pipeline_steps.base import signals
from pipeline_steps.base.errors import DataError
from pipeline_steps.prepare.chunk_worker import CHUNKS_PER_WORKER, Chunk, LazyChunks, PackingJob
from pipeline_steps.prepare.local_engine import pack_in_processes
from pipeline_steps.prepare.packing import PairFacts


def pack_on_ray(
    job: PackingJob, waiting: LazyChunks, num_actors: int | None
) -> Iterator[list[PairFacts]]:
    """Yield the facts of each chunk, in order; by default of as many actors as processors.

    Raises :class:`~colorizer.base.errors.RayClusterError`, and :class:`DataError` if a machine of
    the cluster doesn't see the archive or the work folder.
    """
    job = replace(
        job,
        archive=job.archive.absolute(),
        pairs_path=job.pairs_path.absolute(),
        truths_path=job.truths_path.absolute(),
    )
    with signals.calling_on_exit(end_own_cluster), ray_cluster(num_actors) as cluster:
        num_actors = min(num_actors or cluster.count_cpus(), len(waiting))
        chunks = iter(waiting)
        packed: dict[int, list[PairFacts]] = {}
        with ActorPool(cluster, partial(_ChunkPacker, job), num_actors) as actors:
            handed_out = deque(islice(chunks, num_actors * CHUNKS_PER_WORKER))
            start = handed_out[0].start if handed_out else 0
            for chunk, facts in actors.run(handed_out):
                packed[chunk.start] = facts
                while start in packed:
                    yield (in_order := packed.pop(start))
                    start += len(in_order)
                    handed_out.extend(islice(chunks, 1))


# --- in an actor ---------------------------------------------------------------------------------


class _ChunkPacker:
    """Packs one chunk after another, in a process of its own."""

    def __init__(self, job: PackingJob) -> None:
        for path in (job.archive.path, job.pairs_path, job.truths_path):
            if not path.is_file():
                raise DataError(
                    f"{path}: a machine of the Ray cluster doesn't see it; put the project on"
                    " storage that all of them share, at the same path, or set prepare.engine to"
                    " local"
                )
        self._waiting: deque[Chunk] = deque()
        self._facts = pack_in_processes(job, self._waiting, 1)

    def __call__(self, chunk: Chunk) -> list[PairFacts]:
        # the engine goes on as long as something waits when it is asked for more
        self._waiting.append(chunk)
        return next(self._facts)
