"""Pools of worker processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from colorizer.base.redaction import redact_output


@contextmanager
def process_pool(
    num_workers: int, *, initializer: Callable[..., None], initargs: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose workers are ended with the block, also when one of them has died.

    Workers are spawned: a fork of a process whose libraries run threads can hang.
    """
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(initializer, *initargs),
    )
    try:
        yield pool
    except BrokenProcessPool:
        # a worker that is just being spawned gets no message: shutdown would wait for it forever
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(initializer: Callable[..., None], *arguments: Any) -> None:
    redact_output()
    initializer(*arguments)
