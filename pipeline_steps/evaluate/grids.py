"""Evaluation grids: sketch, generated and truth side by side, two pairs per line."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from colorizer.base.files import atomic_path
from colorizer.base.pixels import to_pixel_range
from pipeline_steps.base.column_labels import label_columns

GAP_PX = 4
PAIRS_PER_LINE = 2


def save_grid(path: Path, columns: Mapping[str, Tensor]) -> None:
    """Write a PNG of K pairs, two per line, each with these labelled columns.

    A column is K×3×S×S, or grey K×1×S×S, float in −1..1.
    """
    from PIL import Image
    from torchvision.utils import make_grid

    pictures = torch.stack([each.expand(-1, 3, -1, -1) for each in columns.values()], dim=1)
    num_pairs, num_columns, _, _, size = pictures.shape
    per_line = num_columns * min(num_pairs, PAIRS_PER_LINE)
    grid = make_grid(pictures.flatten(0, 1), nrow=per_line, padding=GAP_PX, pad_value=1.0)
    pixels = to_pixel_range(grid).round().clamp(0, 255).to(torch.uint8)
    labelled = label_columns(
        pixels.permute(1, 2, 0).contiguous().numpy(),
        list(columns) * (per_line // num_columns),
        column_px=size,
        gap_px=GAP_PX,
        left_px=GAP_PX,
    )
    with atomic_path(path) as partial:
        Image.fromarray(labelled).save(partial)
