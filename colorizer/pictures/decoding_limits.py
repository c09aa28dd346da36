"""Limits on the memory and time that decoding one picture may take in this process.

A hostile file can make a decoder written in C hang, crash or request all memory, which no exception
reports. These limits end the process or fail its allocations, so set them only in a process that
may crash: a worker of ``prepare``, or a
:class:`~colorizer.pictures.decoder_process.DecoderProcess`. Linux only.
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DECODING_LIMIT_S = 30.0
"""Twenty times what 50 million pixels take on a slow core."""
BYTES_PER_PIXEL = 32
"""The most that decoding needs: a few copies of 4 bytes while transparency is composited."""
BASE_BYTES = 512 * 1024 * 1024
"""For the file itself and what libraries allocate."""


def decoding_bytes(max_pixels: int) -> int:
    """The memory in bytes that decoding one picture of ``max_pixels`` may take."""
    return BASE_BYTES + BYTES_PER_PIXEL * max_pixels


def limit_memory(num_bytes: int) -> None:
    """Allow this process ``num_bytes`` more address space than it has now.

    Beyond that, allocations fail with :class:`MemoryError`. The hard limit stays as it is.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + num_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process, by SIGALRM, if the block takes longer: also while C code hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
