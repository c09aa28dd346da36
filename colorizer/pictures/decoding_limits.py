"""Limits on the memory and time that decoding one picture may take in this process, and wiping.

A hostile file can make a decoder written in C hang, crash or request all memory, which no exception
reports. These limits end the process or fail its allocations, so set them only in a process that
may crash: a worker of ``prepare``, or a
:class:`~colorizer.pictures.decoder_process.DecoderProcess`. Memory is limited and wiped on Linux
only.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

DECODING_LIMIT_S = 30.0
"""Twenty times what 50 million pixels take on a slow core."""
BYTES_PER_PIXEL = 32
"""The most that decoding needs: a few copies of 4 bytes while transparency is composited."""
BASE_BYTES = 512 * 1024 * 1024
"""For the file itself and what libraries allocate."""

MAX_MEMBERS = 4000
"""Of a .cbz, pages and all else."""
MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Unpacked, of a page's file, which is read into memory."""
MAX_BOOK_BYTES = 16 * 1024**3
"""Unpacked, of all pages' files by what the archive says; they're read one by one."""

FILL_BYTE = 0xA5
"""Freed memory holds this, and fresh memory its complement."""
_ENVIRONMENT_LOCK = threading.Lock()


def decoding_bytes(max_pixels: int) -> int:
    """The memory in bytes that decoding one picture of ``max_pixels`` may take."""
    return BASE_BYTES + BYTES_PER_PIXEL * max_pixels


def limit_memory(num_bytes: int) -> None:
    """Allow this process ``num_bytes`` more address space than it has now.

    Beyond that, allocations fail with :class:`MemoryError`. The hard limit stays as it is. Does
    nothing where it can't: macOS and Windows don't limit address space.
    """
    sizes = Path("/proc/self/statm")
    if resource is None or sys.platform == "win32" or not sizes.exists():
        return
    pages = int(sizes.read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + num_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


if sys.platform == "win32" or not hasattr(signal, "setitimer"):
    TIMED_OUT = 1

    @contextmanager
    def time_limit(seconds: float) -> Iterator[None]:
        """End this process, with code ``TIMED_OUT``, if the block takes longer."""
        # a thread in C: it ends the process also while other C code hangs
        with Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()

else:
    TIMED_OUT = -signal.SIGALRM

    @contextmanager
    def time_limit(seconds: float) -> Iterator[None]:
        """Kill this process, by SIGALRM, if the block takes longer: also while C code hangs."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def wiped_memory(fill_byte: int = FILL_BYTE) -> Iterator[None]:
    """Start a Python process in this block, and it wipes the memory that it frees.

    Fresh memory is filled, too: what a decoder left unwritten is the same each time, and holds
    nothing of the picture before. Needs glibc, which reads its settings when a process starts.
    """
    with _ENVIRONMENT_LOCK:
        wanted = _wiping_environment(fill_byte)
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _wiping_environment(fill_byte: int) -> dict[str, str]:
    tunables = [
        *os.environ.get("GLIBC_TUNABLES", "").split(":"),
        f"glibc.malloc.perturb={fill_byte}",
        # a thread's cache of blocks up to 1 KB is neither wiped nor filled
        "glibc.malloc.tcache_count=0",
        # what glibc adapts to by itself in time: without, wiping makes decoding a fifth slower
        f"glibc.malloc.mmap_threshold={32 << 20}",
        f"glibc.malloc.trim_threshold={64 << 20}",
    ]
    # Python's own allocator of small objects wipes nothing
    return {"GLIBC_TUNABLES": ":".join(filter(None, tunables)), "PYTHONMALLOC": "malloc"}
