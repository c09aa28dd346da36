"""A change of single colours, tabulated over RGB and applied to pictures of any size.

Shape legend: N colours, 3 = L*, a*, b* of CIELAB under D65.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from colorizer.base.cielab import lab_to_srgb, srgb_to_lab

Float32Array = npt.NDArray[np.float32]
Change = Callable[[Float32Array], Float32Array]
"""Of N×3 colours."""

NODES_PER_CHANNEL = 65
"""The most that Pillow takes: a node every 4 levels of 255; colours between are interpolated."""


def to_lab(rgb: npt.NDArray[np.generic]) -> Float32Array:
    """N×3 RGB in 0..255 → N×3."""
    encoded = np.asarray(rgb, np.float32).T[None, :, None] / np.float32(255)
    return np.ascontiguousarray(srgb_to_lab(encoded, np)[0, :, 0].T)


def to_rgb(lab: Float32Array) -> Float32Array:
    """N×3 → N×3 RGB, 0..255 for colours inside sRGB."""
    return np.ascontiguousarray(lab_to_srgb(lab.T[None, :, None], np)[0, :, 0].T) * np.float32(255)


def change_colours(picture: Image.Image, change: Change) -> Image.Image:
    """An RGB picture with every colour changed; what ``change`` returns as it is stays exactly."""

    def to_levels(rgb: Float32Array, lab: Float32Array) -> Float32Array:
        moved = change(lab)
        return np.where((moved == lab).all(1, keepdims=True), rgb, to_rgb(moved))

    return _look_up(picture, to_levels)


def measure_colours(picture: Image.Image, measure: Change) -> Image.Image:
    """An RGB picture → grey: 255 times what ``measure`` (N×3 → N in 0..1) says of each colour."""

    def to_levels(_: Float32Array, lab: Float32Array) -> Float32Array:
        return np.repeat(measure(lab)[:, None] * np.float32(255), 3, 1)

    return _look_up(picture, to_levels).getchannel("R")


def _look_up(
    picture: Image.Image, to_levels: Callable[[Float32Array, Float32Array], Float32Array]
) -> Image.Image:
    table = (to_levels(*_nodes()) / 255).clip(0, 1).astype(np.float32)
    return picture.filter(ImageFilter.Color3DLUT(NODES_PER_CHANNEL, table.ravel()))


@cache
def _nodes() -> tuple[Float32Array, Float32Array]:
    """Every node in RGB 0..255 and in CIELAB; red changes fastest."""
    levels = np.linspace(0, 255, NODES_PER_CHANNEL, dtype=np.float32)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    rgb = np.stack([red, green, blue], -1).reshape(-1, 3)
    return rgb, to_lab(rgb)
