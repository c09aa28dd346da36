"""Timing on shared machines: medians and quartiles of interleaved rounds, and their ratios."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch


class Spread(NamedTuple):
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """``2.31 [2.24–2.36]``."""
        return f"{self.median:.3g} [{self.low:.3g}–{self.high:.3g}]"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one or more values."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Spread of the ratios of each round, so that a slow round affects both sides alike.

    Raises :class:`ValueError` unless both have the same number of rounds.
    """
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


def seconds(work: Callable[[], object], *, device: torch.device) -> float:
    """Seconds that ``work`` takes, including work queued on the device."""
    synchronize(device)
    start_s = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start_s


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(dtype: torch.dtype, device: torch.device, *, size: int = 2048) -> float:
    """Best FLOP/s of several square matrix products, as the device's peak."""
    if device.type == "cuda":
        size *= 4
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    torch.mm(a, b)
    best_s = min(seconds(lambda: torch.mm(a, b), device=device) for _ in range(8))
    return 2 * size**3 / best_s
