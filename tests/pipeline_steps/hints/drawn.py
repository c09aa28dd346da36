"""Sketches of two boxes, and their pictures in two flat colours."""

import torch
from torch import Tensor

SIZE = 64
LEFT, RIGHT = (0.6, -0.4, -0.4), (-0.5, 0.1, 0.7)


def boxes(num_pictures: int = 1) -> tuple[Tensor, Tensor]:
    """True pictures N×3×64×64 and sketches N×1×64×64: a red box and a blue one on white."""
    sketch = torch.ones(num_pictures, 1, SIZE, SIZE)
    truth = torch.ones(num_pictures, 3, SIZE, SIZE)
    for first, colour in ((4, LEFT), (34, RIGHT)):
        sketch[:, :, 8:56, first : first + 26] = -1
        sketch[:, :, 10:54, first + 2 : first + 24] = 1
        truth[:, :, 8:56, first : first + 26] = -1
        truth[:, :, 10:54, first + 2 : first + 24] = torch.tensor(colour)[:, None, None]
    return truth, sketch
