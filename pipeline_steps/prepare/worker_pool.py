"""Packs all pairs of an archive on all cores, to files on disk; no pair stays in memory.

Where the workers run is the engine's matter: ``local_engine`` or ``ray_engine``. What they do, and
every byte that they write, is the same (``chunk_worker``).
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from colorizer.base.cores import count_cores
from pipeline_steps.pairs.packed import NUM_CHANNELS, UInt8Array
from pipeline_steps.prepare.archive_index import IndexedArchive
from pipeline_steps.prepare.chunk_worker import LazyChunks, PackingJob, PairPacker
from pipeline_steps.prepare.crop_matching import TRUTH_PX
from pipeline_steps.prepare.local_engine import pack_in_processes
from pipeline_steps.prepare.packing import PAIR_FACTS, PairFacts, pack_pair
from pipeline_steps.prepare.pairing import ListedPair
from pipeline_steps.prepare.reading import PairRules
from pipeline_steps.prepare.records import Records, write_records

Engine = Literal["local", "ray"]
TRUTH_SHAPE = (TRUTH_PX, TRUTH_PX, 3)


@dataclass(frozen=True, kw_only=True)
class UnsplitPairs:
    """All packed pairs in the work folder, by their numbers in the listing; not split yet."""

    facts: Records[PairFacts]
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
        if not self.facts:  # an empty file can't be mapped
            return np.empty((0, *TRUTH_SHAPE), np.uint8)
        return np.memmap(
            self.truths_path, np.uint8, mode="r", shape=(len(self.facts), *TRUTH_SHAPE)
        )


def pack_pairs_in_pool(
    archive: IndexedArchive,
    pairs: Sequence[ListedPair],
    rules: PairRules,
    work_folder: Path,
    *,
    engine: Engine = "local",
    workers: int | None = None,
    pack: PairPacker = pack_pair,
) -> UnsplitPairs:
    """Read, check and pack every pair; ``workers`` processes, by default one per core.

    The calling program must be importable (``if __name__ == "__main__"``), and so must ``pack``,
    since workers are spawned. Raises :class:`OSError` when the disk is full, and what
    :func:`~pipeline_steps.prepare.ray_engine.pack_on_ray` raises.
    """
    job = PackingJob(
        archive=archive,
        pack=pack,
        rules=rules,
        pairs_path=work_folder / "pairs",
        truths_path=work_folder / "truths",
    )
    _make_sparse(job.pairs_path, len(pairs) * rules.image_size**2 * NUM_CHANNELS)
    _make_sparse(job.truths_path, len(pairs) * int(np.prod(TRUTH_SHAPE)))
    with closing(_run_engine(engine, job, LazyChunks(pairs), workers)) as chunks:
        packed = chain.from_iterable(chunks)
        with tqdm(packed, total=len(pairs), desc="prepare", unit="pair", mininterval=1) as bar:
            facts = write_records(work_folder / "facts", bar, PAIR_FACTS)
    return UnsplitPairs(
        facts=facts,
        image_size=rules.image_size,
        pairs_path=job.pairs_path,
        truths_path=job.truths_path,
    )


def _run_engine(
    engine: Engine, job: PackingJob, chunks: LazyChunks, workers: int | None
) -> Generator[list[PairFacts], None, None]:
    """Yield the facts of each chunk, in order."""
    if engine == "ray":
        from pipeline_steps.prepare.ray_engine import pack_on_ray

        yield from pack_on_ray(job, chunks, workers)
    else:
        yield from pack_in_processes(job, chunks, min(workers or count_cores(), len(chunks)))


def _make_sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)
