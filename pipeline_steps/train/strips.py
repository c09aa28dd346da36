"""Sample strips: how the colouring of a few fixed sketches comes along, a column an epoch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.files import atomic_path
from pipeline_steps.base.errors import DataError

Picture = npt.NDArray[np.uint8]
"""H×W×3 ``uint8`` 0..255."""
GAP_PX = 4


def draw_strips(columns: Sequence[Sequence[Picture]]) -> Picture:
    """Lay columns of K equal pictures side by side on white → one H×W×3 ``uint8`` picture."""
    stacked = [join(column, axis=0) for column in columns]
    return join(stacked, axis=1)


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
