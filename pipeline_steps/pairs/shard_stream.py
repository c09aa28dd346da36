"""Shards opened ahead of need by a thread, and closed again: a stream holds a few at a time."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from pipeline_steps.base import signals
from pipeline_steps.pairs.packed import IndexArray, UInt8Array

_SIGNAL_POLL_S = 0.5


class OpenShards:
    """Up to ``capacity`` open shards, which stay open from one stream to the next.

    ``open_shard`` maps the pairs of a shard, given its number; it runs in a thread. A shard is
    closed once nothing refers to its pixels.
    """

    def __init__(self, open_shard: Callable[[int], UInt8Array], capacity: int) -> None:
        self._open_shard = open_shard
        self._capacity = capacity
        self._pixels: dict[int, UInt8Array] = {}
        self.peak = 0
        """The most shards that were open at once."""

    @contextmanager
    def ahead_of(self, uses: "ShardUses") -> Iterator["_Stream"]:
        """Inside, shards are opened in the order of their first use."""
        order = uses.order()
        soon = set(order[: self._capacity])
        self._pixels = {shard: pixels for shard, pixels in self._pixels.items() if shard in soon}
        stream = _Stream(self, uses)
        # a daemon: an interrupted training doesn't wait for what is being fetched
        threading.Thread(target=stream.open_all, args=(order,), daemon=True).start()
        try:
            yield stream
        finally:
            stream.stop()


class ShardUses:
    """When each shard is first and last needed by a series of batches."""

    def __init__(self, batches: Collection[IndexArray], shard_pairs: int, num_shards: int) -> None:
        self.first: npt.NDArray[np.int64] = np.full(num_shards, -1)
        self.last: npt.NDArray[np.int64] = np.full(num_shards, -1)
        for number, indices in enumerate(batches):
            shards = indices // shard_pairs
            self.last[shards] = number
            new = shards[self.first[shards] < 0]
            self.first[new] = number

    def order(self) -> list[int]:
        """The shards that are needed at all, by their first use."""
        used = np.flatnonzero(self.first >= 0)
        return [int(shard) for shard in used[np.argsort(self.first[used], kind="stable")]]


class _Stream:
    """Reads one series of batches: its thread opens shards, its reader says how far it has come."""

    def __init__(self, shards: OpenShards, uses: ShardUses) -> None:
        self._shards = shards
        self._uses = uses
        self._batch = 0
        self._changed = threading.Condition()
        self._is_stopped = False
        self._error: BaseException | None = None

    def pixels(self, shard: int) -> UInt8Array:
        """A shard's pairs, once they are open.

        Raises what opening them raised, and :class:`Interruption` after a signal.
        """
        pixels = self._shards._pixels
        with self._changed:
            while shard not in pixels:
                if self._error is not None:
                    raise self._error
                signals.raise_if_received()
                self._changed.wait(_SIGNAL_POLL_S)
            return pixels[shard]

    def done_with(self, batch: int) -> None:
        """Say that a batch, by its number, has been read."""
        with self._changed:
            self._batch = batch + 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Open no more shards."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def open_all(self, order: list[int]) -> None:
        """Open shards as room is made; run in a thread."""
        try:
            for shard in order:
                with self._changed:
                    if shard in self._shards._pixels:
                        continue
                    while not (self._is_stopped or self._has_room(shard)):
                        self._changed.wait()
                    if self._is_stopped:
                        return
                    self._close_unneeded()
                pixels = self._shards._open_shard(shard)
                with self._changed:
                    self._shards._pixels[shard] = pixels
                    self._shards.peak = max(self._shards.peak, len(self._shards._pixels))
                    self._changed.notify_all()
                del pixels
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _has_room(self, shard: int) -> bool:
        """Whether a shard may be opened: one that the current batch needs always may."""
        needed = sum(self._uses.last[other] >= self._batch for other in self._shards._pixels)
        return bool(needed < self._shards._capacity or self._uses.first[shard] <= self._batch)

    def _close_unneeded(self) -> None:
        for shard in list(self._shards._pixels):
            if len(self._shards._pixels) < self._shards._capacity:
                break
            if self._uses.last[shard] < self._batch:
                del self._shards._pixels[shard]
