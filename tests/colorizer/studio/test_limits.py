"""No more is taken on than there are decoders and places to wait."""

import asyncio
import contextlib
import threading

import pytest

from colorizer.pictures.guard import PictureGuard
from colorizer.studio.limits import BusyError, Desk, Limits


def test_a_caller_that_goes_away_frees_nothing_before_its_job_ends() -> None:
    go_on = threading.Event()

    def job(guard: PictureGuard) -> int | None:
        go_on.wait(30)
        return guard.pid

    async def scene() -> None:
        desk = Desk(Limits(workers=1, max_waiting=0))
        try:
            caller = asyncio.ensure_future(desk.work(job))
            await asyncio.sleep(0.05)
            caller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caller
            with pytest.raises(BusyError):
                await desk.work(job)
            go_on.set()
            while True:
                with contextlib.suppress(BusyError):
                    assert await desk.work(job)
                    break
                await asyncio.sleep(0.01)
        finally:
            desk.close()

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_what_a_job_raises_is_its_callers() -> None:
    def job(_: PictureGuard) -> None:
        raise ValueError("no colours")

    async def scene() -> None:
        desk = Desk(Limits(workers=1, max_waiting=0))
        try:
            for _ in range(2):
                with pytest.raises(ValueError, match="no colours"):
                    await desk.work(job)
        finally:
            desk.close()

    asyncio.run(asyncio.wait_for(scene(), 30))
