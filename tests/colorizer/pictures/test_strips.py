"""Long strips are drawn in windows, and nothing of the joins is seen."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.pictures.squares import is_strip, reduced_size
from colorizer.pictures.strips import (
    MAX_WINDOWS,
    Window,
    crop_rows,
    draw_windows,
    place_windows,
    window_length,
)


@pytest.mark.parametrize("size", [(100, 1000), (1000, 100), (333, 1111), (7, 400), (64, 129)])
def test_joined_windows_of_a_picture_are_the_picture(size: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 90).convert("RGB")
    long, window = max(size), window_length(size, 64)
    windows = place_windows(long, window, long, window)
    joined = draw_windows(size, windows, lambda its: crop_rows(picture, its.start, its.length))
    assert len(windows) > 1
    assert np.array_equal(np.asarray(joined), np.asarray(picture))


@pytest.mark.parametrize(
    ("size", "side"), [((800, 20_000), 256), ((720, 90_000), 2048), ((1, 2**26), 128), ((3, 9), 32)]
)
def test_windows_reach_from_end_to_end_overlap_and_are_bounded(
    size: tuple[int, int], side: int
) -> None:
    (short, long), window = sorted(size), window_length(size, side)
    drawn_long = round(long * side / window)
    windows = place_windows(long, window, drawn_long, side)
    assert (windows[0].start, windows[0].drawn_start) == (0, 0)
    assert windows[-1].start + window == long
    assert windows[-1].drawn_start + side == drawn_long
    starts = np.array([its.start for its in windows])
    assert (np.diff(starts) <= window / 2 + 1).all()
    # the finer grid is off by less than a pixel of it
    scale = drawn_long / long
    off = np.array([its.drawn_start for its in windows]) - starts * scale
    assert np.abs(off).max() <= max(1, scale)
    assert len(windows) <= MAX_WINDOWS + 1
    assert round(short * side / window) * drawn_long <= max(short * long, 1 << 24) * 1.1


def draw_in_two_colours(window: Window) -> Image.Image:
    """Each 100×100 px; what a generator that doesn't know its neighbour may do at worst."""
    return Image.new("RGB", (100, 100), "red" if window.start == 0 else "blue")


def test_without_a_gap_one_window_fades_slowly_into_the_next() -> None:
    sketch = Image.new("L", (100, 150), 0)
    windows = place_windows(150, 100, 150, 100)
    joined = np.asarray(draw_windows(sketch.size, windows, draw_in_two_colours, sketch)).astype(int)
    steps = np.abs(np.diff(joined[:, 0], axis=0))
    assert steps.max() <= 1.5 * 255 / 50 + 1
    assert np.count_nonzero(steps[:, 0]) > 40


def test_between_two_panels_it_does_so_in_the_gap() -> None:
    sketch = Image.new("L", (100, 150), 0)
    pen = ImageDraw.Draw(sketch)
    pen.rectangle((0, 60, 100, 62), fill=255)
    pen.rectangle((0, 70, 100, 79), fill=250)
    windows = place_windows(150, 100, 150, 100)
    for size in (sketch.size, sketch.size[::-1]):
        turned = sketch if size == sketch.size else sketch.transpose(Image.Transpose.TRANSPOSE)
        joined = np.asarray(draw_windows(size, windows, draw_in_two_colours, turned))
        rows = joined[:, 0] if size == sketch.size else joined[0]
        assert (rows[:70] == (255, 0, 0)).all()
        assert (rows[80:] == (0, 0, 255)).all()
        assert len(np.unique(rows[70:80], axis=0)) > 6


def test_a_picture_of_two_squares_is_no_strip() -> None:
    assert not is_strip((200, 100))
    assert not is_strip((50, 100))
    assert is_strip((201, 100))
    assert is_strip((1, 3))


def test_a_strip_is_reduced_less_so_that_its_width_shows_but_not_without_bound() -> None:
    assert reduced_size((800, 1600), 128) == (64, 128)
    assert reduced_size((800, 20_000), 128) == (64, 1600)
    width, height = reduced_size((64, 2**20), 128)
    assert width * height <= 32 * 128**2
