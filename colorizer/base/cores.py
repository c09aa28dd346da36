"""Processor cores."""

import os


def count_cores() -> int:
    """Count the cores that this process may use: where the system can't limit that, all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
