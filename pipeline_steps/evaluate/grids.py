"""Evaluation grids: sketch, generated, truth side by side, a pair a row."""

from pathlib import Path

import torch
from torch import Tensor

from colorizer.base.files import atomic_path
from colorizer.base.pixels import to_pixel_range

COLUMNS_OF_TRIPLES = 2


def save_grid(path: Path, sketch: Tensor, generated: Tensor, truth: Tensor) -> None:
    """Write a PNG of K rows (two abreast) of sketch, generated, truth.

    ``sketch`` is K×1×S×S, the others K×3×S×S, all float in −1..1.
    """
    from PIL import Image
    from torchvision.utils import make_grid

    triples = torch.stack([sketch.expand(-1, 3, -1, -1), generated, truth], dim=1)
    grid = make_grid(triples.flatten(0, 1), nrow=3 * COLUMNS_OF_TRIPLES, padding=4, pad_value=1.0)
    pixels = to_pixel_range(grid).round().clamp(0, 255).to(torch.uint8)
    with atomic_path(path) as partial:
        Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(partial)
