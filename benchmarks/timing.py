"""Timing on machines that other work shares: interleaved rounds, medians and quartiles."""

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
    """Median and quartiles of at least one value."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Spread of the ratios taken round by round, so that slow minutes hit both sides alike."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


def seconds(work: Callable[[], object], *, device: torch.device) -> float:
    """How long ``work`` takes, the device's queue included."""
    synchronize(device)
    start_s = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start_s


def synchronize(device: torch.device) -> None:
    """Wait for what the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(dtype: torch.dtype, device: torch.device, *, size: int = 2048) -> float:
    """FLOP/s of the best of several square matrix products: what the device can do at most."""
    if device.type == "cuda":
        size *= 4
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    torch.mm(a, b)
    best_s = min(seconds(lambda: torch.mm(a, b), device=device) for _ in range(8))
    return 2 * size**3 / best_s
