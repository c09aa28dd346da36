"""Decoder processes shared by the requests of one server, and the queue for them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.studio.limits import Limits

Result = TypeVar("Result")


class PoolBusyError(Exception):
    """``max_waiting`` jobs wait already."""


class DecoderPool:
    """One decoder process per worker. Use it from one event loop; close it at the end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._decoders = [
            DecoderProcess(max_pixels=limits.max_pixels) for _ in range(limits.workers)
        ]
        self._free: asyncio.Queue[DecoderProcess] = asyncio.Queue()
        for decoder in self._decoders:
            self._free.put_nowait(decoder)
        self.num_waiting = 0

    async def run(self, job: Callable[[DecoderProcess], Result]) -> Result:
        """Wait for a free decoder, then run ``job`` with it in a thread.

        Raises :class:`PoolBusyError` if too many wait already, and what the job raises. A thread
        can't be stopped, so a cancelled caller's decoder is free only when its job ends.
        """
        decoder = await self._acquire()
        running = asyncio.ensure_future(asyncio.to_thread(job, decoder))
        running.add_done_callback(lambda done: self._release(decoder, done))
        return await asyncio.shield(running)

    async def _acquire(self) -> DecoderProcess:
        if self._free.empty() and self.num_waiting >= self.limits.max_waiting:
            raise PoolBusyError
        self.num_waiting += 1
        try:
            return await self._free.get()
        finally:
            self.num_waiting -= 1

    def _release(self, decoder: DecoderProcess, done: "asyncio.Future[Any]") -> None:
        self._free.put_nowait(decoder)
        if not done.cancelled():
            done.exception()  # or asyncio logs one that a cancelled caller never retrieves

    def close(self) -> None:
        """End the decoder processes."""
        for decoder in self._decoders:
            decoder.close()
