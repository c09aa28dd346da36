"""Colours of a small picture on a large one stay on their side of the lines."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.look.upscaling import spread_colours


def halves(size: int, thickness: int) -> Image.Image:
    """White with a black line in the middle."""
    lines = Image.new("L", (size, size), 255)
    middle = size // 2
    ImageDraw.Draw(lines).rectangle((middle, 0, middle + thickness - 1, size), fill=0)
    return lines


def test_colours_do_not_cross_a_line() -> None:
    lines = halves(512, 16)
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[:, :16, 0] = colour[:, 17:, 2] = 255  # red, a dark line, blue
    spread = np.asarray(spread_colours(colour, lines)).astype(int)
    interpolated = np.asarray(
        Image.fromarray(colour).resize((512, 512), Image.Resampling.BICUBIC)
    ).astype(int)
    beside = slice(272, 280)  # first on the blue side: the line's darkness reaches here
    assert spread[:, beside, 2].mean() > 220 > interpolated[:, beside, 2].mean()
    assert spread[:, 240:255, 0].mean() > 220
    assert spread[:, 280:, 0].max() < 25


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 700), (700, 33), (1500, 900)])
def test_one_colour_stays_that_colour_at_any_size(size: tuple[int, int]) -> None:
    scale = 32 / max(size)
    shape = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)), 3)
    colour = np.full(shape, (200, 100, 50), np.uint8)
    lines = Image.effect_noise(size, 80)
    spread = spread_colours(colour, lines)
    assert spread.size == size
    assert np.abs(np.asarray(spread).astype(int) - (200, 100, 50)).max() <= 1


def test_lines_must_be_grey() -> None:
    with pytest.raises(ValueError, match="mode L"):
        spread_colours(np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (8, 8)))
