"""The train split in shards, streamed: the same pairs as a packed split, in bounded space."""

from collections.abc import Collection, Iterator

import numpy as np

from pipeline_steps.base.errors import DataError
from pipeline_steps.base.open_files import allow_open_files
from pipeline_steps.pairs.packed import NUM_CHANNELS, IndexArray, PackedPairs, UInt8Array
from pipeline_steps.pairs.shard_places import ShardPlace
from pipeline_steps.pairs.shard_stream import OpenShards, ShardUses
from pipeline_steps.pairs.shards import AGAIN, ShardList

SPARE_FILES = 256


class ShardedPairs:
    """Pairs in shards; read by streams that know their order ahead.

    ``sample`` are the pairs that :func:`~pipeline_steps.pairs.packed.sample_rows` names.
    ``shuffle_shards`` is the number of shards whose pairs are shuffled together: twice as many are
    open at once, those in use and those that come next; 0: all.

    Raises :class:`DataError` if a shard is missing or has another size, before any is read.
    """

    name = "train"

    def __init__(
        self, listed: ShardList, place: ShardPlace, sample: PackedPairs, *, shuffle_shards: int
    ) -> None:
        if not len(sample) or sample.image_size != listed.image_size:
            raise DataError(f"{sample.path}: not a sample of these shards' pairs; {AGAIN}")
        self.listed = listed
        self._place = place
        self._sample = sample
        capacity = min(2 * shuffle_shards or len(listed.shards), len(listed.shards))
        place.require_readable(listed, at_hand=capacity)
        allow_open_files(capacity + SPARE_FILES)
        self.open_shards = OpenShards(self._open, capacity)

    def __len__(self) -> int:
        """Count pairs."""
        return self.listed.num_pairs

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.listed.image_size

    @property
    def where(self) -> str:
        """The shards' address."""
        return str(self.listed.address)

    def sha256(self) -> str:
        """Hash the pairs by the list of their shards, each of which is checked when it is read."""
        return self.listed.sha256()

    def sample(self) -> UInt8Array:
        """Evenly spaced pairs, K×S×S×4."""
        return self._sample.pixels

    def stream(self, batches: Collection[IndexArray]) -> Iterator[UInt8Array]:
        """Yield the pairs of each batch of M indices, M×S×S×4, in their order.

        Raises :class:`DataError` if a shard is missing or damaged.
        """
        shard_pairs, size = self.listed.shard_pairs, self.image_size
        uses = ShardUses(batches, shard_pairs, len(self.listed.shards))
        with self.open_shards.ahead_of(uses) as ahead:
            for number, indices in enumerate(batches):
                places = [divmod(index, shard_pairs) for index in indices.tolist()]
                opened = {shard: ahead.pixels(shard) for shard in {shard for shard, _ in places}}
                pixels = np.empty((len(places), size, size, NUM_CHANNELS), np.uint8)
                for pair, (shard, row) in zip(pixels, places, strict=True):
                    pair[...] = opened[shard][row]
                del opened  # may be closed from here on
                ahead.done_with(number)
                yield pixels

    def _open(self, number: int) -> UInt8Array:
        first_row = number * self.listed.shard_pairs
        return self._place.open(self.listed.shards[number], first_row, self.image_size)
