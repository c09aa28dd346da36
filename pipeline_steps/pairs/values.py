"""Packed pairs as the model sees them: channels first, float32 in −1..1.

Shape legend: N pairs, S = image size in pixels, C of the 4 channels (``packed``).
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from colorizer.base.pixels import to_model_range
from pipeline_steps.pairs.packed import UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

Float32Array = npt.NDArray[np.float32]


def tensor_of(pixels: "Tensor") -> "Tensor":
    """N×S×S×C ``uint8`` → N×C×S×S float32 on the same device, channels last in memory."""
    return to_model_range(pixels.permute(0, 3, 1, 2).float())


def array_of(pixels: UInt8Array) -> Float32Array:
    """N×S×S×C ``uint8`` → N×C×S×S float32, contiguous."""
    return to_model_range(np.ascontiguousarray(np.moveaxis(pixels, -1, 1), dtype=np.float32))
