"""Grids and strips say above each column what it shows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline_steps.base.column_labels import label_columns
from pipeline_steps.evaluate.grids import save_grid
from pipeline_steps.train.strips import GAP_PX, Samples, to_pictures


def ink_columns(line: np.ndarray) -> list[int]:
    """The x positions that have ink."""
    return np.flatnonzero((line < 128).any(axis=(0, 2))).tolist()


@pytest.mark.parametrize("size", [32, 128, 256])
@pytest.mark.parametrize("label", ["truth", "generated", "epoch 1000"])
def test_a_label_stands_over_its_column_and_the_picture_is_kept(size: int, label: str) -> None:
    picture = np.full((5, 4 + 3 * (size + 4), 3), 200, np.uint8)
    labelled = label_columns(picture, ["", label, ""], column_px=size, gap_px=4, left_px=4)
    line = labelled[:-5]
    assert np.array_equal(labelled[-5:], picture)
    ink = ink_columns(line)
    left = 4 + size + 4
    reach = 0 if size > 32 else 12  # letters have a least size
    assert left - reach <= ink[0]
    assert ink[-1] < left + size + reach
    assert abs((ink[0] + ink[-1]) / 2 - (left + size / 2)) <= 2
    assert line[0].min() == line[-1].min() == 255, "letters are cut"


def test_a_grid_names_its_columns(tmp_path: Path) -> None:
    for pairs in (1, 3):
        grey = torch.zeros(pairs, 1, 64, 64)
        colour = torch.zeros(pairs, 3, 64, 64)
        save_grid(tmp_path / "grid.png", {"sketch": grey, "generated": colour, "truth": colour})
        grid = np.asarray(Image.open(tmp_path / "grid.png"))
        lines = (pairs + 1) // 2
        height = len(grid) - (lines * 68 + 4)
        plain = np.full((1, grid.shape[1], 3), 255, np.uint8)
        labels = ["sketch", "generated", "truth"] * min(pairs, 2)
        expected = label_columns(plain, labels, column_px=64, gap_px=4, left_px=4)[:-1]
        assert grid.shape[1] == len(labels) * 68 + 4
        assert np.array_equal(grid[:height], expected)


def test_strips_name_their_epochs_also_when_a_column_is_left_out(tmp_path: Path) -> None:
    samples = Samples(tmp_path, torch.zeros(2, 4, 64, 64))
    for epoch in (1, 3, 10):
        newest = samples.add(epoch, torch.zeros(2, 3, 64, 64))
    (tmp_path / "epoch_0003.png").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="its column is left out"):
        strips = samples.strips()
    for picture, labels in (
        (newest, ["sketch", "truth", "epoch 10"]),
        (strips, ["sketch", "truth", "epoch 1", "epoch 10"]),
    ):
        below = np.full((1, picture.shape[1], 3), 255, np.uint8)
        line = label_columns(below, labels, column_px=64, gap_px=GAP_PX)[:-1]
        assert picture.shape[1] == len(labels) * 68 - 4
        assert np.array_equal(picture[: len(line)], line)
        assert (
            picture[len(line) : len(line) + 64, :64] == to_pictures(torch.zeros(1, 3, 64, 64))[0]
        ).all()
