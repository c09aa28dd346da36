"""Column labels above a picture that is laid out in columns, so that it explains itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

MAX_FONT_PX = 24
MIN_FONT_PX = 6


def label_columns(
    picture: npt.NDArray[np.uint8],
    labels: Sequence[str],
    *,
    column_px: int,
    gap_px: int,
    left_px: int = 0,
) -> npt.NDArray[np.uint8]:
    """Put a white line with a label over each column of an H×W×3 ``uint8`` picture.

    Columns are ``column_px`` wide with ``gap_px`` between them, the first at ``left_px``. The
    letters are as small as the widest label needs, but at least ``MIN_FONT_PX``.
    """
    from PIL import Image, ImageDraw

    font = _fitting_font(labels, column_px)
    height = round(font.getbbox("Ágj")[3]) + 4
    line = Image.new("RGB", (picture.shape[1], height), "white")
    pen = ImageDraw.Draw(line)
    for number, label in enumerate(labels):
        middle = left_px + number * (column_px + gap_px) + column_px / 2
        pen.text((middle, height / 2), label, fill="black", font=font, anchor="mm")
    return np.concatenate([np.asarray(line), picture])


def _fitting_font(labels: Sequence[str], width_px: int) -> "ImageFont | FreeTypeFont":
    """Pillow's own font, small enough for the widest label."""
    from PIL import ImageFont

    size = max(MIN_FONT_PX, min(MAX_FONT_PX, width_px // 8))
    while True:
        font = ImageFont.load_default(size)
        if size <= MIN_FONT_PX or max(map(font.getlength, labels)) <= width_px:
            return font
        size -= 1
