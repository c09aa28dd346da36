"""Colours of a small picture on a large one stay on their side of the lines."""

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from colorizer.base.cielab import srgb_to_lab
from colorizer.look import upscaling
from colorizer.look.upscaling import spread_colours

RED = (200, 40, 60)


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


Polygon = list[tuple[float, float]]


def star(size: int) -> Polygon:
    """A star in the middle, somewhat turned: its tips are thinner than a generator's pixel."""
    angles = [0.3 + math.pi * corner / 5 for corner in range(10)]
    radii = [size * (0.4, 0.18)[corner % 2] for corner in range(10)]
    return [
        (size / 2 + radius * math.cos(angle), size / 2 + radius * math.sin(angle))
        for radius, angle in zip(radii, angles, strict=True)
    ]


def squares(size: int, distance: float) -> list[Polygon]:
    """Two squares beside each other, so many px apart."""
    side, middle = size * 0.35, size / 2
    top, bottom = middle - side / 2, middle + side / 2
    return [
        [(left, top), (left + side, top), (left + side, bottom), (left, bottom)]
        for left in (middle - distance / 2 - side, middle + distance / 2)
    ]


def outlined(size: int, shapes: list[Polygon], pen: int) -> tuple[Image.Image, Image.Image]:
    """Lines (L), and what is inside them in red on white (RGB)."""
    lines = Image.new("L", (size, size), 255)
    truth = Image.new("RGB", (size, size), "white")
    for shape in shapes:
        ImageDraw.Draw(truth).polygon(shape, fill=RED)
        ImageDraw.Draw(lines).line([*shape, *shape[:2]], fill=0, width=pen, joint="curve")
    return lines, truth


def paint_small(lines: Image.Image, truth: Image.Image, side: int) -> np.ndarray[Any, Any]:
    """As a perfect generator would: colours and lines, averaged."""
    small = ImageChops.multiply(truth, lines.convert("RGB")).resize(
        (side,) * 2, Image.Resampling.BOX
    )
    return np.asarray(small)


def spill(spread: Image.Image, lines: Image.Image, truth: Image.Image) -> np.ndarray[Any, Any]:
    """ΔE from white (CIE 1976) outside the shapes, further than 2 px from ink; elsewhere 0."""
    away = np.asarray(lines.filter(ImageFilter.MinFilter(5))) == 255
    outside = away & (np.asarray(truth) == 255).all(axis=-1)
    encoded = np.moveaxis(np.asarray(spread, np.float32) / 255, -1, 0)[None]
    lab = srgb_to_lab(encoded, np)[0] - np.array([100, 0, 0], np.float32)[:, None, None]
    return np.where(outside, np.linalg.norm(lab, axis=0), 0)


@pytest.mark.parametrize(("size", "pen"), [(300, 1), (300, 24), (512, 6), (1101, 1), (1101, 12)])
def test_nothing_spills_over_a_closed_line(size: int, pen: int) -> None:
    lines, truth = outlined(size, [star(size)], pen)
    spread = spread_colours(paint_small(lines, truth, 64), lines)
    assert spill(spread, lines, truth).max() < 5
    middle = (size // 2, size // 2)
    assert np.abs(np.array(spread.getpixel(middle)) - RED).max() < 10


def test_a_passage_thinner_than_a_generators_pixel_has_the_colour_of_where_it_leads() -> None:
    lines, truth = outlined(700, squares(700, 9), 2)
    small = paint_small(lines, truth, 64)
    spread = spread_colours(small, lines)
    assert spill(Image.fromarray(small).resize((700, 700)), lines, truth).max() > 40
    assert spill(spread, lines, truth).max() < 5


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_a_gap_leaks_at_the_gap_only(gap: int) -> None:
    lines, truth = outlined(512, squares(512, 100), 3)
    ImageDraw.Draw(lines).rectangle((100, 160, 100 + gap - 1, 175), fill=255)  # in the upper border
    spread = spread_colours(paint_small(lines, truth, 64), lines)
    y, x = np.nonzero(spill(spread, lines, truth) > 5)
    assert (np.hypot(y - 166, x - 100 - gap / 2) < 12).all()


def test_faint_lines_on_tinted_paper_stop_colours_too() -> None:
    lines, truth = outlined(512, [star(512)], 3)
    faint = lines.point([round(140 + 80 * level / 255) for level in range(256)])
    spread = spread_colours(paint_small(lines, truth, 64), faint)
    assert spill(spread, lines, truth).max() < 5


def test_bands_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, truth = outlined(2050, [star(2050)], 5)
    small = paint_small(lines, truth, 64)
    whole = spread_colours(small, lines)
    monkeypatch.setattr(upscaling, "BAND_ROWS", 62)
    assert np.array_equal(np.asarray(spread_colours(small, lines)), np.asarray(whole))
