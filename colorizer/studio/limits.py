"""How much a server takes on: bytes, pixels, pictures at once, and seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from colorizer.guard import PictureGuard


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

    @asynccontextmanager
    async def place(self) -> AsyncIterator[PictureGuard]:
        """A decoder of one's own. Raises :class:`BusyError` if too many wait for one."""
        if self._free.empty() and self.num_waiting >= self.limits.max_waiting:
            raise BusyError
        self.num_waiting += 1
        try:
            guard = await self._free.get()
        finally:
            self.num_waiting -= 1
        try:
            yield guard
        finally:
            self._free.put_nowait(guard)

    def close(self) -> None:
        """End the decoders."""
        for guard in self._guards:
            guard.close()
