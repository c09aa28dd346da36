"""Draws the baselines: outputs that need no model."""

import torch
from torch import Tensor


def draw_baselines(sketch: Tensor, train_mean: Tensor) -> dict[str, Tensor]:
    """Draw each of :data:`~pipeline_steps.scores.definitions.BASELINES`: N×3×S×S in −1..1, by name.

    ``sketch`` is N×1×S×S and ``train_mean``, the mean training picture, 3×S×S, both float in −1..1.
    """
    copy = sketch.expand(-1, 3, -1, -1)
    return {
        "copy_sketch": copy,
        "white": torch.ones_like(sketch).expand_as(copy),
        "train_mean": train_mean.to(sketch.device).expand_as(copy),
    }
