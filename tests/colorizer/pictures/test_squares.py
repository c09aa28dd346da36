"""Pictures are fitted into the model's square without losing lines."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.pictures.squares import Placement, fit_sketch, fit_square

BLUE, WHITE, BLACK = (0, 0, 255), (255,) * 3, (0,) * 3


def test_a_sketch_becomes_rec_601_luma() -> None:
    rgb = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]], np.uint8)
    square, _ = fit_sketch(Image.fromarray(rgb), 2)
    assert square.tolist() == [[76, 150], [29, 255]]


@pytest.mark.parametrize(
    ("size", "placement"),
    [
        ((64, 32), Placement(0, 8, 32, 16)),
        ((32, 64), Placement(8, 0, 16, 32)),
        ((32, 32), Placement(0, 0, 32, 32)),
        ((9, 3), Placement(0, 10, 32, 11)),
        ((2000, 1), Placement(0, 15, 32, 1)),
    ],
)
def test_a_picture_is_centred_in_a_white_square(
    size: tuple[int, int], placement: Placement
) -> None:
    square, got = fit_square(Image.new("RGB", size, BLUE), 32)
    assert got == placement
    assert square.shape == (32, 32, 3)
    inside = placement.cut(square)
    assert (inside == BLUE).all()
    assert (square == WHITE).all(axis=-1).sum() == 32 * 32 - placement.width * placement.height


def test_shrinking_neither_loses_lines_nor_adds_halos() -> None:
    drawing = Image.new("RGB", (512, 512), (180, 180, 180))
    drawing.paste(BLACK, (300, 0, 302, 512))
    square, _ = fit_sketch(drawing, 64)
    assert square.max() == 180
    # the ink is spread, not lost: 2 px of 8 are black
    ink = (180 - square[32].astype(int)).sum()
    assert ink == pytest.approx(180 * 2 / 8, rel=0.2)


def test_a_sketch_looks_alike_from_any_size() -> None:
    large = Image.new("L", (1600, 1600), 255)
    pen = ImageDraw.Draw(large)
    for number in range(6):
        inset = 100 + 120 * number
        pen.ellipse((inset, inset // 2, 1600 - inset, 1500 - inset), outline=0, width=12)
    squares = [
        fit_sketch(large.resize((side, side), Image.Resampling.LANCZOS), 64)[0].astype(int)
        for side in (100, 144, 400, 1600)
    ]
    differences = [np.abs(one - two).mean() for one in squares for two in squares]
    assert max(differences) < 2.5


def test_fitting_accepts_rgb_and_grey_only() -> None:
    with pytest.raises(ValueError, match="mode"):
        fit_square(Image.new("RGBA", (4, 4)), 32)
