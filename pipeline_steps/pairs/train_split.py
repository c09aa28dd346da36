"""The train split as a training reads it: packed, or in shards."""

from pathlib import Path

from pipeline_steps.pairs.packed import PackedPairs, read_pairs
from pipeline_steps.pairs.shard_places import open_place
from pipeline_steps.pairs.sharded import ShardedPairs
from pipeline_steps.pairs.shards import ShardList

TrainPairs = PackedPairs | ShardedPairs
"""Both have ``len``, ``image_size``, ``name``, ``where``, ``sha256``, ``sample`` and ``stream``."""


def read_train_pairs(path: Path, listed: ShardList, *, shuffle_shards: int) -> TrainPairs:
    """Open the train split: ``path`` itself if no shards are listed, else the shards.

    ``shuffle_shards``: see :class:`ShardedPairs`. Raises :class:`DataError` if a file or shard is
    missing or damaged.
    """
    packed = read_pairs(path)
    if listed.address is None:
        return packed
    place = open_place(listed.address)
    return ShardedPairs(listed, place, packed, shuffle_shards=shuffle_shards)
