"""A decoder pool accepts as many jobs as it has decoders and places in its queue."""

import asyncio
import contextlib
import threading

import pytest

from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.studio.decoder_pool import DecoderPool, PoolBusyError
from colorizer.studio.limits import Limits


def test_a_cancelled_caller_keeps_its_decoder_until_the_job_ends() -> None:
    may_end = threading.Event()

    def job(decoder: DecoderProcess) -> int | None:
        may_end.wait(30)
        return decoder.pid

    async def scenario() -> None:
        pool = DecoderPool(Limits(workers=1, max_waiting=0))
        try:
            caller = asyncio.ensure_future(pool.run(job))
            await asyncio.sleep(0.05)
            caller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caller
            with pytest.raises(PoolBusyError):
                await pool.run(job)
            may_end.set()
            while True:
                with contextlib.suppress(PoolBusyError):
                    assert await pool.run(job)
                    break
                await asyncio.sleep(0.01)
        finally:
            pool.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_an_exception_of_a_job_reaches_its_caller() -> None:
    def job(_: DecoderProcess) -> None:
        raise ValueError("no colours")

    async def scenario() -> None:
        pool = DecoderPool(Limits(workers=1, max_waiting=0))
        try:
            for _ in range(2):
                with pytest.raises(ValueError, match="no colours"):
                    await pool.run(job)
        finally:
            pool.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
