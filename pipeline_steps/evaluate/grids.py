"""Evaluation grids: sketch, generated and truth side by side, two pairs per line."""

from pathlib import Path

import torch
from torch import Tensor

from colorizer.base.files import atomic_path
from colorizer.base.pixels import to_pixel_range
from pipeline_steps.base.column_labels import label_columns

COLUMNS = ("sketch", "generated", "truth")
GAP_PX = 4
TRIPLES_PER_LINE = 2


def save_grid(path: Path, sketch: Tensor, generated: Tensor, truth: Tensor) -> None:
    """Write a PNG of K triples (sketch, generated, truth), two per line, with column labels.

    ``sketch`` is K×1×S×S, the others K×3×S×S, all float in −1..1.
    """
    from PIL import Image
    from torchvision.utils import make_grid

    triples = torch.stack([sketch.expand(-1, 3, -1, -1), generated, truth], dim=1)
    num_columns = len(COLUMNS) * min(len(sketch), TRIPLES_PER_LINE)
    grid = make_grid(triples.flatten(0, 1), nrow=num_columns, padding=GAP_PX, pad_value=1.0)
    pixels = to_pixel_range(grid).round().clamp(0, 255).to(torch.uint8)
    labelled = label_columns(
        pixels.permute(1, 2, 0).contiguous().numpy(),
        COLUMNS * (num_columns // len(COLUMNS)),
        column_px=sketch.shape[-1],
        gap_px=GAP_PX,
        left_px=GAP_PX,
    )
    with atomic_path(path) as partial:
        Image.fromarray(labelled).save(partial)
