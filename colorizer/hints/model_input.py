"""A layer of hints → the model's input: premultiplied colours and their mask.

Shape legend: H×W pixels of the sketch, S = side of the model's square.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.pixels import HINT_CHANNELS, to_model_range
from colorizer.pictures.squares import Placement

Float32Array = npt.NDArray[np.float32]


def fit_layer(layer: Image.Image, placement: Placement, size: int) -> Float32Array:
    """An RGBA layer, placed like its sketch → 4×S×S float32: colour in −1..1 times mask, mask 0..1.

    A cell's mask is the share of it that hints cover, and its colour their mean: what is much
    smaller than a cell keeps its full colour, once the mask is divided out.
    """
    target = np.zeros((HINT_CHANNELS, size, size), np.float32)
    scale = max(placement.width / layer.width, placement.height / layer.height)
    fill = _enlarged if scale >= 1 else _reduced
    part = target[
        :,
        placement.top : placement.top + placement.height,
        placement.left : placement.left + placement.width,
    ]
    part[:] = fill(layer, placement.width, placement.height)
    return target


def _reduced(layer: Image.Image, width: int, height: int) -> Float32Array:
    pixels = np.asarray(layer)
    rows, columns = np.nonzero(pixels[..., 3])
    cells = rows * height // layer.height * width + columns * width // layer.width
    colours = to_model_range(pixels[rows, columns, :3].astype(np.float32))
    number = np.bincount(cells, minlength=width * height)
    sums = [np.bincount(cells, plane, width * height) for plane in colours.T]
    cell_px = layer.width * layer.height / (width * height)
    mask = np.minimum(1, number / cell_px)
    means = np.stack(sums) / np.maximum(1, number)
    planes = np.concatenate([means * mask, mask[None]])
    return planes.astype(np.float32).reshape(HINT_CHANNELS, height, width)


def _enlarged(layer: Image.Image, width: int, height: int) -> Float32Array:
    pixels = np.asarray(layer.resize((width, height), Image.Resampling.NEAREST))
    mask = (pixels[..., 3:] > 0).astype(np.float32)
    colours = to_model_range(pixels[..., :3].astype(np.float32))
    return np.moveaxis(np.concatenate([colours * mask, mask], axis=-1), -1, 0)
