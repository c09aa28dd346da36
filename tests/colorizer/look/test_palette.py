"""Colours after the fact: hue and saturation move, lightness and paper don't."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.look.palette import parse_colours, recolour_like, recolour_with


def stripes(*colours: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.repeat(np.array([colours], np.uint8), 20, axis=1).repeat(40, axis=0))


def hue(pixel: tuple[int, ...]) -> float:
    return colorsys.rgb_to_hsv(*(value / 255 for value in pixel))[0] * 360


RED, GREEN, BLUE, WHITE = (200, 60, 60), (60, 170, 70), (60, 70, 190), (255, 255, 255)


def test_main_colours_become_the_given_ones_and_paper_stays_white() -> None:
    picture = recolour_with(stripes(RED, WHITE, BLUE), [(180, 90, 20), (40, 130, 140)])
    pixels = np.asarray(picture)
    assert 15 < hue(tuple(pixels[20, 10])) < 45  # red → orange
    assert pixels[20, 30].min() >= 250
    assert 170 < hue(tuple(pixels[20, 50])) < 215  # blue → cyan


def test_lightness_stays() -> None:
    source = stripes(RED, GREEN, BLUE)
    changed = recolour_with(source, [(200, 150, 0)])
    difference = np.asarray(changed.convert("L")).astype(int) - np.asarray(source.convert("L"))
    assert np.abs(difference).mean() < 25


def test_a_reference_gives_its_hue() -> None:
    changed = np.asarray(
        recolour_like(stripes(RED, (220, 120, 120)), stripes(BLUE, (120, 130, 230)))
    )
    assert 200 < hue(tuple(changed[20, 10])) < 290


def test_grey_pictures_have_nothing_to_move() -> None:
    grey = Image.new("RGB", (50, 50), (128, 128, 128))
    assert np.array_equal(np.asarray(recolour_with(grey, [RED, BLUE])), np.asarray(grey))


def test_colours_are_read_with_and_without_a_hash() -> None:
    assert parse_colours("#ff8800, 2244AA") == [(255, 136, 0), (34, 68, 170)]


@pytest.mark.parametrize("text", ["", "red", "#ff88", "#ff8800,", ",".join(["#ff8800"] * 7)])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(PictureError, match="1 to 6 colours"):
        parse_colours(text)
