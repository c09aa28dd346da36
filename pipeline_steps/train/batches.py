"""Batches on the device: pairs are resident on the GPU where they fit, else prefetched.

Shape legend: M batches of N pairs, S = image size in pixels, 4 channels = colour and sketch.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pipeline_steps.pairs.packed import NUM_CHANNELS, PackedPairs
from pipeline_steps.pairs.train_split import TrainPairs
from pipeline_steps.pairs.values import tensor_of

RESIDENT_SHARE = 0.4
"""The share of the GPU's free memory that pairs may fill; activations need the rest."""
PAIRS_PER_COPY = 1024


def fetch(pairs: PackedPairs, indices: Tensor, device: torch.device) -> Tensor:
    """Read pairs by index: N int64 → N×4×S×S float32 in −1..1, channels last in memory."""
    return tensor_of(torch.from_numpy(pairs.pixels[indices.numpy()]).to(device))


def make_resident(pairs: TrainPairs, device: torch.device) -> Tensor | None:
    """All pairs as N×S×S×4 uint8 on a GPU with enough free memory; else None."""
    if device.type != "cuda":
        return None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    shape = (len(pairs), pairs.image_size, pairs.image_size, NUM_CHANNELS)
    if math.prod(shape) > RESIDENT_SHARE * free_bytes:
        return None
    resident = torch.empty(shape, dtype=torch.uint8, device=device)
    parts = [part.numpy() for part in torch.arange(len(pairs)).split(PAIRS_PER_COPY)]
    for rows, pixels in zip(parts, pairs.stream(parts), strict=True):
        resident[rows[0] : rows[-1] + 1] = torch.from_numpy(pixels)
    return resident


def read_batches(
    pairs: TrainPairs, resident: Tensor | None, batches: Tensor, device: torch.device
) -> Iterator[Tensor]:
    """Yield each of M×N indices as :func:`fetch` does; on a GPU without synchronizing."""
    if device.type != "cuda":
        for pixels in pairs.stream(batches.numpy()):
            yield tensor_of(torch.from_numpy(pixels).to(device))
    elif resident is not None:
        for indices in batches:
            yield tensor_of(resident[indices.pin_memory().to(device, non_blocking=True)])
    else:
        yield from read_ahead(pairs, batches, device)


def read_ahead(pairs: TrainPairs, batches: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Yield M×N indices' batches while a thread reads the next one into pinned memory."""
    stream = pairs.stream(batches.numpy())

    def gather() -> Tensor:
        pixels = torch.from_numpy(next(stream))
        return pixels.pin_memory() if device.type == "cuda" else pixels

    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = deque(thread.submit(gather) for _ in batches[:1])
        for index in range(len(batches)):
            pixels = coming.popleft().result()
            coming.extend(thread.submit(gather) for _ in batches[index + 1 :][:1])
            yield tensor_of(pixels.to(device, non_blocking=True))
