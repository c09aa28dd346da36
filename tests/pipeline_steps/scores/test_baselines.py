"""Baselines: the sketch, white paper and the mean training picture, for every pair."""

import torch

from pipeline_steps.scores.baselines import draw_baselines
from pipeline_steps.scores.definitions import BASELINES


def test_every_baseline_is_a_picture_per_sketch() -> None:
    sketch = torch.rand(2, 1, 4, 4) * 2 - 1
    train_mean = torch.rand(3, 4, 4) * 2 - 1
    pictures = draw_baselines(sketch, train_mean)
    assert tuple(pictures) == BASELINES
    assert torch.equal(pictures["copy_sketch"], sketch.repeat(1, 3, 1, 1))
    assert torch.equal(pictures["white"], torch.ones(2, 3, 4, 4))
    assert torch.equal(pictures["train_mean"], train_mean.repeat(2, 1, 1, 1))
