"""How much a server takes on: bytes, pixels, pictures at once, and seconds."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from colorizer.pictures.guard import PictureGuard

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one server."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 25_000_000
    workers: int = 2
    """Pictures that are coloured at once."""
    max_waiting: int = 16
    """Requests that wait for a worker; one more is answered with 429."""
    body_timeout_s: float = 60.0
    """From the first to the last byte of a body."""


class BusyError(Exception):
    """Too many wait already."""


class Desk:
    """Guarded decoders, one a worker, and the queue before them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._guards = [PictureGuard(max_pixels=limits.max_pixels) for _ in range(limits.workers)]
        self._free: asyncio.Queue[PictureGuard] = asyncio.Queue()
        for guard in self._guards:
            self._free.put_nowait(guard)
        self.num_waiting = 0

    async def work(self, job: Callable[[PictureGuard], Result]) -> Result:
        """Wait for a decoder, then do a job with it in a thread.

        Raises :class:`BusyError` if too many wait already, and what the job raises. A thread can't
        be stopped: a decoder is free only when its job ends, also when nobody waits any more.
        """
        guard = await self._take()
        running = asyncio.ensure_future(asyncio.to_thread(job, guard))
        running.add_done_callback(lambda done: self._give_back(guard, done))
        return await asyncio.shield(running)

    async def _take(self) -> PictureGuard:
        if self._free.empty() and self.num_waiting >= self.limits.max_waiting:
            raise BusyError
        self.num_waiting += 1
        try:
            return await self._free.get()
        finally:
            self.num_waiting -= 1

    def _give_back(self, guard: PictureGuard, done: "asyncio.Future[Any]") -> None:
        self._free.put_nowait(guard)
        if not done.cancelled():
            done.exception()  # else asyncio tells of one that nobody waits for

    def close(self) -> None:
        """End the decoders."""
        for guard in self._guards:
            guard.close()
