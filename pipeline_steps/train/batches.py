"""Pairs on their way to the device: resident on the GPU where they fit, else fetched ahead.

Shape legend: N pairs in a batch, S = image size in pixels, 4 channels = colour and sketch.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.values import tensor_of

RESIDENT_SHARE = 0.4
"""Of the GPU's free memory, what a data set may fill; activations need the rest."""
ROWS_PER_COPY = 1024


def fetch(pairs: PackedPairs, indices: Tensor, device: torch.device) -> Tensor:
    """Read pairs by index: N int64 → N×4×S×S float32 in −1..1, channels last in memory."""
    return tensor_of(torch.from_numpy(pairs.pixels[indices.numpy()]).to(device))


def make_resident(pairs: PackedPairs, device: torch.device) -> Tensor | None:
    """All pairs as N×S×S×4 uint8 on a GPU that has room for them; else None."""
    if device.type != "cuda":
        return None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if pairs.pixels.nbytes > RESIDENT_SHARE * free_bytes:
        return None
    resident = torch.empty(pairs.pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pairs), ROWS_PER_COPY):
        rows = slice(start, start + ROWS_PER_COPY)
        resident[rows] = torch.from_numpy(pairs.pixels[rows].copy())
    return resident


def read_batches(
    pairs: PackedPairs, resident: Tensor | None, batches: Sequence[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """Yield each batch of indices as :func:`fetch` does, never making the host wait for a GPU."""
    if device.type != "cuda":
        yield from (fetch(pairs, indices, device) for indices in batches)
    elif resident is not None:
        for indices in batches:
            yield tensor_of(resident[indices.pin_memory().to(device, non_blocking=True)])
    else:
        yield from read_ahead(pairs, batches, device)


def read_ahead(
    pairs: PackedPairs, batches: Sequence[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """Yield batches while a thread gathers the next one into pinned memory."""

    def gather(indices: Tensor) -> Tensor:
        rows = torch.from_numpy(pairs.pixels[indices.numpy()])
        return rows.pin_memory() if device.type == "cuda" else rows

    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = deque(thread.submit(gather, indices) for indices in batches[:1])
        for index in range(len(batches)):
            rows = coming.popleft().result()
            coming.extend(thread.submit(gather, indices) for indices in batches[index + 1 :][:1])
            yield tensor_of(rows.to(device, non_blocking=True))
