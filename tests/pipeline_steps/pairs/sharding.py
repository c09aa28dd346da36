"""Packed pairs written as shards, as ``prepare`` does it."""

from pathlib import Path

from pipeline_steps.pairs.packed import PackedPairs, read_pairs, sample_rows, write_pairs
from pipeline_steps.pairs.shard_places import open_place
from pipeline_steps.pairs.sharded import ShardedPairs
from pipeline_steps.pairs.shards import ShardList, describe_shard, shard_blocks


def write_sharded(pairs: PackedPairs, address: str, shard_pairs: int) -> ShardList:
    place = open_place(address)
    shards = []
    for number, first in enumerate(range(0, len(pairs), shard_pairs)):
        part = pairs.pixels[first : first + shard_pairs]
        shard = describe_shard(
            part,
            number=number,
            first_row=first,
            num_pairs=len(part),
            image_size=pairs.image_size,
        )
        place.put(shard, shard_blocks(part, first, pairs.image_size))
        shards.append(shard)
    return ShardList(
        shard_pairs=shard_pairs,
        image_size=pairs.image_size,
        address=address,
        shards=tuple(shards),
    )


def write_sample(pairs: PackedPairs, path: Path) -> PackedPairs:
    rows = sample_rows(len(pairs))
    write_pairs(path, pairs.pixels[rows], num_pairs=len(rows), image_size=pairs.image_size)
    return read_pairs(path)


def read_sharded(pairs: PackedPairs, listed: ShardList, *, shuffle_shards: int = 0) -> ShardedPairs:
    """Shards of these pairs, as a training reads them."""
    assert listed.address
    sample = write_sample(pairs, pairs.path.with_name("sample.npy"))
    return ShardedPairs(listed, open_place(listed.address), sample, shuffle_shards=shuffle_shards)
