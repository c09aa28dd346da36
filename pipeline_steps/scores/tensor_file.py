"""Weights that others publish as torch's own files: nothing but tensors is unpickled."""

from io import BytesIO
from pickle import UnpicklingError

import torch
from torch import Tensor


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """A state dict by name, on CPU.

    Raises :class:`ValueError`, in one line, if the bytes hold anything else, or are damaged.
    """
    try:
        tensors = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(reason) from None
    if not isinstance(tensors, dict) or not all(isinstance(x, Tensor) for x in tensors.values()):
        raise ValueError("no tensors by name")
    return dict(tensors)
