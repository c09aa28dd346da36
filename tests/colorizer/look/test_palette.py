"""Recolouring changes hue and saturation; lightness and paper stay. Distances are in CIELAB."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from colorizer.base.cielab import srgb_to_lab
from colorizer.base.errors import PictureError
from colorizer.look.palette import (
    find_main_colours,
    parse_colours,
    recolour_like,
    recolour_with,
)

# muted, so that no result is outside sRGB
RED, GREEN, BLUE, WHITE = (190, 90, 90), (80, 150, 90), (90, 100, 170), (255, 255, 255)
OCHRE, TEAL = (150, 120, 60), (90, 140, 150)
STRIPE_PX = 20


def stripes(*colours: tuple[int, int, int]) -> Image.Image:
    row = np.array([colours], np.uint8).repeat(STRIPE_PX, axis=1)
    return Image.fromarray(row.repeat(40, axis=0))


def lab(picture: Image.Image) -> npt.NDArray[np.float64]:
    """3×stripes: CIELAB in the middle of each stripe."""
    encoded = np.moveaxis(np.asarray(picture)[None] / 255.0, -1, 1)
    values: npt.NDArray[np.float64] = srgb_to_lab(encoded, np)[0]
    return values[:, 20, STRIPE_PX // 2 :: STRIPE_PX]


def test_main_colours_are_replaced_by_the_palette_and_paper_stays_white() -> None:
    changed = lab(recolour_with(stripes(RED, WHITE, BLUE), [TEAL, OCHRE]))
    expected = lab(stripes(OCHRE, WHITE, TEAL))  # red becomes the nearer colour
    assert np.abs(changed - expected)[1:].max() < 2.5
    assert changed[0, 1] > 98


@pytest.mark.parametrize(
    "recolour",
    [
        lambda picture: recolour_with(picture, [OCHRE]),
        lambda picture: recolour_with(picture, [OCHRE, TEAL]),
        lambda picture: recolour_like(picture, stripes(OCHRE, TEAL, BLUE)),
    ],
    ids=["one colour", "two colours", "reference"],
)
def test_recolouring_changes_colours_and_keeps_the_lightness(
    recolour: Callable[[Image.Image], Image.Image],
) -> None:
    source = stripes(RED, GREEN, BLUE)
    lightness, a, b = lab(recolour(source)) - lab(source)
    assert np.abs(lightness).max() < 1
    assert np.hypot(a, b).max() > 15


def test_a_reference_determines_the_mean_and_spread_of_chroma() -> None:
    reference = lab(stripes(OCHRE, TEAL))[1:]
    changed = lab(recolour_like(stripes(RED, BLUE), stripes(OCHRE, TEAL)))[1:]
    assert changed.mean(axis=1) == pytest.approx(reference.mean(axis=1), abs=2)
    assert changed.std(axis=1) == pytest.approx(reference.std(axis=1), abs=2)


def test_bands_of_a_tall_picture_are_all_recoloured() -> None:
    tall = Image.new("RGB", (3, 700), RED)
    changed = np.asarray(recolour_with(tall, [TEAL]))
    assert (changed == changed[0, 0]).all()
    assert not np.array_equal(changed[0, 0], RED)


def test_a_grey_picture_is_unchanged() -> None:
    grey = Image.new("RGB", (50, 50), (128, 128, 128))
    assert np.array_equal(np.asarray(recolour_with(grey, [RED, BLUE])), np.asarray(grey))


def test_main_colours_are_found_by_frequency_without_paper_and_grey() -> None:
    picture = stripes(BLUE, RED, WHITE, RED)  # small enough not to be shrunk
    assert find_main_colours(picture, 2) == [RED, BLUE]
    assert find_main_colours(stripes(WHITE, (90, 90, 90)), 1) == []
    with pytest.raises(ValueError, match="count must be 1 to 6"):
        find_main_colours(picture, 7)


def test_colours_are_read_with_and_without_a_hash() -> None:
    assert parse_colours("#ff8800, 2244AA") == [(255, 136, 0), (34, 68, 170)]


@pytest.mark.parametrize("text", ["", "red", "#ff88", "#ff8800,", ",".join(["#ff8800"] * 7)])
def test_invalid_palettes_are_refused(text: str) -> None:
    with pytest.raises(PictureError, match="1 to 6 colours"):
        parse_colours(text)
