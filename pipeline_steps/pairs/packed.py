"""The packed pairs: one ``.npy`` file per split, written once, memory-mapped by every reader.

Shape legend: N pairs, H = W = image size in pixels, 4 channels = red, green, blue of the colour
picture, then the grey of the sketch. ``uint8`` 0..255, white paper = 255. Pairs are sorted by id.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from colorizer.base.files import atomic_path, file_sha256
from pipeline_steps.base.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.int64]

NUM_CHANNELS = 4
COLOUR = slice(0, 3)
SKETCH = slice(3, 4)
SAMPLE_PAIRS = 128
"""Of the train split: the evenly spaced ones that batch-norm statistics are estimated on."""


class PackedPairs(NamedTuple):
    """A split on disk, memory-mapped."""

    path: Path
    pixels: UInt8Array
    """N×H×W×4 ``uint8``, memory-mapped read-only."""

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.pixels.shape[1])

    def __len__(self) -> int:
        """Count pairs."""
        return int(self.pixels.shape[0])

    @property
    def name(self) -> str:
        """The split's name."""
        return self.path.stem

    @property
    def where(self) -> str:
        """The file's path."""
        return str(self.path)

    def sha256(self) -> str:
        """Hash the whole file, header included."""
        return file_sha256(self.path)

    def sample(self) -> UInt8Array:
        """Evenly spaced pairs, K×H×W×4: those of :func:`sample_rows`."""
        return self.pixels[sample_rows(len(self))]

    def stream(self, batches: Iterable[IndexArray]) -> Iterator[UInt8Array]:
        """Yield the pairs of each batch of M indices, M×H×W×4, in their order."""
        return (self.pixels[indices] for indices in batches)


def sample_rows(num_pairs: int) -> IndexArray:
    """The rows of up to ``SAMPLE_PAIRS`` evenly spaced pairs of so many, in order."""
    import torch

    # not by numpy, which rounds others down; float32 can't tell the last rows of 2²⁴ and more
    rows = torch.linspace(0, num_pairs - 1, min(SAMPLE_PAIRS, num_pairs)).long()
    return rows.clamp(max=num_pairs - 1).numpy()


def pack(colour: UInt8Array, sketch: UInt8Array) -> UInt8Array:
    """Join a colour picture (H×W×3) and its sketch (H×W), ``uint8``, into H×W×4.

    Raises :class:`ValueError` for other shapes or dtypes.
    """
    if colour.shape != (*sketch.shape, 3) or colour.dtype != np.uint8 or sketch.dtype != np.uint8:
        raise ValueError(
            f"need uint8 H×W×3 and H×W, got {colour.dtype} {colour.shape}"
            f" and {sketch.dtype} {sketch.shape}"
        )
    return np.concatenate([colour, sketch[..., None]], axis=-1)


def write_pairs(
    path: Path, pairs: Iterable[UInt8Array], *, num_pairs: int, image_size: int
) -> None:
    """Stream ``num_pairs`` pairs (each H×W×4 ``uint8``) into ``path``, whole or not at all.

    Raises :class:`ValueError` if a pair has another shape or the count differs.
    """
    pair_shape = (image_size, image_size, NUM_CHANNELS)
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_pairs, *pair_shape)}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        written = 0
        for pair in pairs:
            if pair.shape != pair_shape or pair.dtype != np.uint8:
                raise ValueError(f"need uint8 {pair_shape}, got {pair.dtype} {pair.shape}")
            file.write(np.ascontiguousarray(pair).data)
            written += 1
        if written != num_pairs:
            raise ValueError(f"num_pairs is {num_pairs}, got {written} pairs")


def read_pairs(path: Path) -> PackedPairs:
    """Memory-map a split. Raises :class:`DataError` if it is missing or not a packed split."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro prepare` makes it") from None
    except (ValueError, EOFError, OSError) as error:
        # numpy can't map an empty array, yet a split may have no pairs
        pixels = _read_empty(path)
        if pixels is None:
            raise DataError(f"{path}: damaged ({error}); run `dvc repro -f prepare`") from None
    if not isinstance(pixels, np.ndarray):  # an archive of arrays under this name
        raise DataError(f"{path}: not packed pairs; run `dvc repro -f prepare`")
    shape: Sequence[int] = pixels.shape
    if pixels.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 4:
        raise DataError(
            f"{path}: not packed pairs (N×H×H×4 uint8) but {pixels.dtype} {tuple(shape)};"
            " run `dvc repro -f prepare`"
        )
    return PackedPairs(path, pixels)


def read_train_mean(path: Path, image_size: int) -> UInt8Array:
    """The mean colour picture of train, H×W×3 ``uint8``.

    Raises :class:`DataError` if it is missing, no picture, or of another size.
    """
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: unreadable ({error}); run `dvc repro -f prepare`") from None
    shape = (image_size, image_size, 3)
    if not isinstance(mean, np.ndarray) or (mean.shape, mean.dtype) != (shape, np.uint8):
        raise DataError(
            f"{path}: not a mean picture of {image_size} px like the pairs;"
            " run `dvc repro -f prepare`"
        )
    return mean


def _read_empty(path: Path) -> UInt8Array | None:
    try:
        pixels = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    return pixels if isinstance(pixels, np.ndarray) and pixels.size == 0 else None
