"""Batches on the device: pairs are resident on the GPU where they fit, else prefetched.

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
"""The share of the GPU's free memory that pairs may fill; activations need the rest."""
PAIRS_PER_COPY = 1024


def fetch(pairs: PackedPairs, indices: Tensor, device: torch.device) -> Tensor:
    """Read pairs by index: N int64 → N×4×S×S float32 in −1..1, channels last in memory."""
    return tensor_of(torch.from_numpy(pairs.pixels[indices.numpy()]).to(device))


def make_resident(pairs: PackedPairs, device: torch.device) -> Tensor | None:
    """All pairs as N×S×S×4 uint8 on a GPU with enough free memory; else None."""
    if device.type != "cuda":
        return None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if pairs.pixels.nbytes > RESIDENT_SHARE * free_bytes:
        return None
    resident = torch.empty(pairs.pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pairs), PAIRS_PER_COPY):
        part = slice(start, start + PAIRS_PER_COPY)
        resident[part] = torch.from_numpy(pairs.pixels[part].copy())
    return resident


def read_batches(
    pairs: PackedPairs, resident: Tensor | None, batches: Sequence[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """Yield each batch of indices as :func:`fetch` does; on a GPU without synchronizing."""
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
    """Yield batches while a thread reads the next one into pinned memory."""

    def gather(indices: Tensor) -> Tensor:
        pixels = torch.from_numpy(pairs.pixels[indices.numpy()])
        return pixels.pin_memory() if device.type == "cuda" else pixels

    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = deque(thread.submit(gather, indices) for indices in batches[:1])
        for index in range(len(batches)):
            pixels = coming.popleft().result()
            coming.extend(thread.submit(gather, indices) for indices in batches[index + 1 :][:1])
            yield tensor_of(pixels.to(device, non_blocking=True))
