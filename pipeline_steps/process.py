"""How a process of ours behaves towards its system; Linux only, elsewhere nothing happens."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3


def die_with_parent() -> None:
    """Get SIGTERM when the parent dies: what was started by a killed process doesn't run on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def keep_freed_memory() -> None:
    """Let glibc keep freed pages: else each step gives back a gigabyte and faults it in again."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
            libc.mallopt(_M_TOP_PAD, 1 << 26)
