"""The train split as shards, and what stands for it among the packed files."""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from pipeline_steps.pairs.packed import (
    PackedPairs,
    UInt8Array,
    read_pairs,
    sample_rows,
    write_pairs,
)
from pipeline_steps.pairs.shard_places import ShardPlace
from pipeline_steps.pairs.shards import Shard, describe_shard, shard_blocks
from pipeline_steps.prepare.split_files import MeanPicture
from pipeline_steps.prepare.splits import PlacedPairs
from pipeline_steps.prepare.worker_pool import UnsplitPairs


def write_train_shards(
    folder: Path, unsplit: UnsplitPairs, placed: PlacedPairs, place: ShardPlace, shard_pairs: int
) -> tuple[PackedPairs, tuple[Shard, ...]]:
    """Write the train pairs, sorted by id, to ``place`` in shards of ``shard_pairs``.

    In ``folder``, ``train.npy`` then holds a sample of them, and ``train_mean.npy`` the mean of
    all. A shard that the place holds isn't written again: each is read twice, first to be hashed.
    """
    numbers = placed.numbers("train")
    size = unsplit.image_size
    mean = MeanPicture(size)

    def read(first: int) -> Iterator[UInt8Array]:
        return unsplit.read(numbers[first : first + shard_pairs])

    shards: list[Shard] = []
    firsts = range(0, len(numbers), shard_pairs)
    for number, first in enumerate(tqdm(firsts, desc="shards", unit="shard", mininterval=1)):
        shard = describe_shard(
            mean.adding(read(first)),
            number=number,
            first_row=first,
            num_pairs=min(shard_pairs, len(numbers) - first),
            image_size=size,
        )
        if not place.holds(shard):
            place.put(shard, shard_blocks(read(first), first, size))
        shards.append(shard)
    mean.write(folder / "train_mean.npy")
    sample = [numbers[row] for row in sample_rows(len(numbers))]
    path = folder / "train.npy"
    write_pairs(path, unsplit.read(sample), num_pairs=len(sample), image_size=size)
    return read_pairs(path), tuple(shards)
