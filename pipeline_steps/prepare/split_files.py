"""The packed files: ``<split>.npy`` for each split, and ``train_mean.npy``."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from colorizer.base.files import atomic_path
from pipeline_steps.pairs.packed import COLOUR, PackedPairs, UInt8Array, read_pairs, write_pairs
from pipeline_steps.prepare.pairing import Split
from pipeline_steps.prepare.splits import PlacedPairs
from pipeline_steps.prepare.worker_pool import UnsplitPairs


def write_split(
    folder: Path, split: Split, unsplit: UnsplitPairs, placed: PlacedPairs
) -> PackedPairs:
    """Write a split's pairs, sorted by id, into ``folder``; for ``train`` its mean picture too."""
    numbers = placed.numbers(split)
    mean = MeanPicture(unsplit.image_size)
    path = folder / f"{split}.npy"
    write_pairs(
        path,
        mean.adding(unsplit.read(numbers)),
        num_pairs=len(numbers),
        image_size=unsplit.image_size,
    )
    if split == "train":
        mean.write(folder / "train_mean.npy")
    return read_pairs(path)


def _npy_bytes(picture: UInt8Array) -> bytes:
    # np.save to a file gives no reason when the disk is full
    buffer = io.BytesIO()
    np.save(buffer, picture)
    return buffer.getvalue()


class MeanPicture:
    """The mean colour picture of packed pairs that stream through."""

    def __init__(self, image_size: int) -> None:
        self._sum: npt.NDArray[np.int64] = np.zeros((image_size, image_size, 3), np.int64)
        self._num_pairs = 0

    def adding(self, pairs: Iterator[UInt8Array]) -> Iterator[UInt8Array]:
        """Yield the packed pairs unchanged, adding each to the sum."""
        for packed in pairs:
            self._sum += packed[..., COLOUR]
            self._num_pairs += 1
            yield packed

    def write(self, path: Path) -> None:
        """Write the mean to ``path``."""
        with atomic_path(path) as partial, partial.open("wb") as file:
            file.write(_npy_bytes(self.picture()))

    def picture(self) -> UInt8Array:
        """The mean, rounded: S×S×3 ``uint8``."""
        return np.rint(self._sum / self._num_pairs).astype(np.uint8)
