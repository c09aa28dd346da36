"""Sample strips: a few fixed sketches as the training colours them, one column per epoch."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from colorizer.base.files import atomic_path
from colorizer.base.pixels import to_pixel_range
from pipeline_steps.base.column_labels import label_columns
from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import COLOUR, SKETCH

Picture = npt.NDArray[np.uint8]
"""H×W×3 ``uint8`` 0..255."""
GAP_PX = 4


class Samples:
    """The coloured panel by epoch, kept as pictures so that a resumed training has them all.

    ``panel``: K×4×S×S float in −1..1, the pairs whose sketches are coloured.
    """

    def __init__(self, folder: Path, panel: Tensor) -> None:
        self.folder = folder
        self.sketches = to_pictures(panel[:, SKETCH].expand(-1, 3, -1, -1))
        self.truths = to_pictures(panel[:, COLOUR])

    def add(self, epoch: int, coloured: Tensor) -> Picture:
        """Keep an epoch's column (K×3×S×S in −1..1); return it joined to sketch and truth."""
        column = to_pictures(coloured)
        save_picture(self.folder / f"epoch_{epoch:04d}.png", np.concatenate(column))
        columns = {"sketch": self.sketches, "truth": self.truths, f"epoch {epoch}": column}
        return draw_strips(columns)

    def strips(self) -> Picture:
        """Sketch, truth, then one column per epoch, oldest first."""
        columns = {"sketch": self.sketches, "truth": self.truths}
        for path in sorted(self.folder.glob("epoch_*.png")):
            epoch = int(path.stem.removeprefix("epoch_"))
            try:
                columns[f"epoch {epoch}"] = np.split(read_picture(path), len(self.sketches))
            except (DataError, ValueError) as error:  # damaged, or of another size
                warnings.warn(f"{error}; its column is left out", stacklevel=2)
        return draw_strips(columns)


def to_pictures(values: Tensor) -> list[Picture]:
    """K×3×S×S float in −1..1 → K pictures S×S×3 ``uint8``."""
    pixels = to_pixel_range(values).round().clamp(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).contiguous().numpy())


def draw_strips(columns: Mapping[str, Sequence[Picture]]) -> Picture:
    """Lay labelled columns of K equal pictures side by side on white → H×W×3 ``uint8``."""
    stacked = [join(column, axis=0) for column in columns.values()]
    width = stacked[0].shape[1]
    return label_columns(join(stacked, axis=1), list(columns), column_px=width, gap_px=GAP_PX)


def join(pictures: Sequence[Picture], *, axis: int) -> Picture:
    """Put pictures below (axis 0) or beside (axis 1) each other, a white gap between them."""
    gap_shape = list(pictures[0].shape)
    gap_shape[axis] = GAP_PX
    gap = np.full(gap_shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)


def save_picture(path: Path, picture: Picture) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_path(path) as partial:
        Image.fromarray(picture).save(partial)


def read_picture(path: Path) -> Picture:
    """Read back what :func:`save_picture` wrote. Raises :class:`DataError` if it's damaged."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: damaged ({error})") from None
