"""Recolouring moves what is coloured; paper, greys and lines stay. Distances are in CIELAB."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from colorizer.base.cielab import srgb_to_lab
from colorizer.base.errors import PictureError
from colorizer.base.hex_colours import Colour
from colorizer.look.palette import (
    find_main_colours,
    parse_colours,
    recolour_like,
    recolour_with,
)

RED, GREEN, BLUE, WHITE = (190, 90, 90), (80, 150, 90), (90, 100, 170), (255, 255, 255)
OCHRE, TEAL, GREY = (150, 120, 60), (90, 140, 150), (120, 120, 120)
SKIN, DARK_SKIN = (255, 226, 204), (141, 85, 50)
VIVID_GREEN, VIVID_BLUE = (32, 160, 64), (32, 64, 208)
STRIPE_PX = 20

Floats = npt.NDArray[np.float64]


def stripes(*colours: Colour) -> Image.Image:
    row = np.array([colours], np.uint8).repeat(STRIPE_PX, axis=1)
    return Image.fromarray(row.repeat(40, axis=0))


def lab(picture: Image.Image) -> Floats:
    """3×stripes: CIELAB in the middle of each stripe."""
    return all_lab(picture)[:, 20, STRIPE_PX // 2 :: STRIPE_PX]


def all_lab(picture: Image.Image) -> Floats:
    """3×H×W."""
    encoded = np.moveaxis(np.asarray(picture.convert("RGB"))[None] / 255.0, -1, 1)
    return np.asarray(srgb_to_lab(encoded, np)[0])


def difference(one: Image.Image, other: Image.Image) -> Floats:
    """H×W: ΔE."""
    return np.asarray(np.linalg.norm(all_lab(one) - all_lab(other), axis=0))


def blurred_figure(skin: Colour = SKIN) -> tuple[Image.Image, Image.Image]:
    """A coloured page as a generator leaves it, soft and uneven, and its lines (mode L)."""
    colour, lines = Image.new("RGB", (200, 200), (252, 249, 243)), Image.new("L", (200, 200), 255)
    for box, fill in (
        ((20, 20, 180, 110), BLUE),
        ((60, 50, 140, 120), skin),
        ((40, 120, 160, 190), RED),
    ):
        for picture, inside in ((colour, fill), (lines, 255)):
            pen = ImageDraw.Draw(picture)
            pen.ellipse(box, fill=inside, outline="black" if picture is lines else None, width=3)
    uneven = np.random.default_rng(0).normal(0, 1, (10, 10, 3)) * 3
    tint = np.asarray(Image.fromarray((uneven + 128).astype(np.uint8)).resize((200, 200)))
    values = np.asarray(colour).astype(int) + tint - 128
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)), lines


def test_main_colours_become_the_given_ones_and_paper_stays_white() -> None:
    changed = recolour_with(stripes(RED, WHITE, BLUE), [TEAL, OCHRE])
    expected = lab(stripes(OCHRE, WHITE, TEAL))  # red becomes the nearer colour
    assert np.abs(lab(changed) - expected).max() < 2
    assert np.array_equal(np.asarray(changed)[:, 20:40], np.full((40, 20, 3), 255))


def test_vivid_colours_arrive_in_pale_and_in_dark_regions() -> None:
    pale, dark = (205, 225, 250), (60, 20, 30)
    changed = lab(recolour_with(stripes(pale, WHITE, dark), [VIVID_GREEN, VIVID_BLUE]))
    given = lab(stripes(VIVID_GREEN, VIVID_BLUE))[1:]
    for region in (changed[1:, 0], changed[1:, 2]):
        assert np.linalg.norm(given.T - region, axis=1).min() < 5


@pytest.mark.parametrize(
    "recolour",
    [
        lambda picture, lines: recolour_with(picture, [VIVID_GREEN, VIVID_BLUE], lines=lines),
        lambda picture, lines: recolour_with(picture, [(0, 0, 0)], lines=lines),
        lambda picture, lines: recolour_like(picture, stripes(OCHRE, RED), lines=lines),
    ],
    ids=["palette", "black", "reference"],
)
def test_tinted_uneven_paper_and_greys_stay(
    recolour: Callable[[Image.Image, Image.Image], Image.Image],
) -> None:
    picture, lines = blurred_figure()
    for level in range(0, 256, 15):
        picture.paste((level, level, level), (0, level // 2, 8, level // 2 + 8))
    moved = difference(recolour(picture, lines), picture)
    outside = np.zeros((200, 200), bool)
    outside[:15], outside[:140, :12] = True, True
    assert moved[outside].max() < 2
    assert np.median(moved[~outside]) > 5


def test_regions_of_a_soft_picture_take_the_given_colours() -> None:
    picture, lines = blurred_figure()
    changed = all_lab(recolour_with(picture, [VIVID_GREEN, VIVID_BLUE], lines=lines))[1:]
    given = lab(stripes(VIVID_GREEN, VIVID_BLUE))[1:]
    distance = np.linalg.norm(changed[:, :, :, None] - given[:, None, None], axis=0)
    coloured = np.linalg.norm(all_lab(picture)[1:], axis=0) > 10
    assert np.median(distance.min(-1)[coloured]) < 10
    nearest = distance.argmin(-1)[coloured]
    assert 0.1 < nearest.mean() < 0.9, "both are used"


@pytest.mark.parametrize("skin", [SKIN, DARK_SKIN])
def test_skin_stays_when_asked_and_hair_and_clothes_change(skin: Colour) -> None:
    picture, lines = blurred_figure(skin)
    for recoloured in (
        recolour_with(picture, [VIVID_GREEN, OCHRE], lines=lines, keep_skin=True),
        recolour_like(picture, stripes(TEAL, GREEN), lines=lines, keep_skin=True),
    ):
        moved = difference(recoloured, picture)
        assert moved[70:100, 75:125].max() < 2
        assert moved[30:40, 80:120].min() > 5
        assert moved[140:170, 80:120].min() > 5
    everywhere = recolour_with(picture, [VIVID_GREEN, OCHRE], lines=lines)
    assert difference(everywhere, picture)[70:100, 75:125].min() > 5


def test_a_faint_grey_inside_a_coloured_region_stays() -> None:
    source = stripes(RED, RED, RED, RED, RED)
    source.paste((136, 128, 126), (48, 0, 52, 40))
    moved = difference(recolour_with(source, [VIVID_BLUE]), source)
    assert moved[:, 48:52].max() < 2
    assert moved[:, 5:15].min() > 20


def test_dark_and_light_shades_keep_the_given_hue_and_most_of_its_chroma() -> None:
    given = lab(stripes(VIVID_BLUE))[1:, 0]
    source = stripes((90, 40, 40), (190, 90, 90), (240, 170, 170))
    for shade in lab(recolour_with(source, [VIVID_BLUE]))[1:].T:
        assert np.linalg.norm(shade - given) < 0.25 * np.linalg.norm(given)


def test_all_given_colours_are_used() -> None:
    given = [
        (230, 25, 75),
        (60, 180, 75),
        (67, 99, 216),
        (245, 130, 48),
        (145, 30, 180),
        (0, 128, 128),
    ]
    source = stripes(RED, GREEN, BLUE, OCHRE, (150, 90, 160), (60, 170, 190))
    changed = lab(recolour_with(source, given))[1:]
    distance = np.linalg.norm(changed[:, :, None] - lab(stripes(*given))[1:, None], axis=0)
    assert sorted(distance.argmin(1)) == list(range(6))
    assert distance.min(1).max() < 5


def test_greys_are_given_colours_too() -> None:
    changed = lab(recolour_with(stripes(RED, WHITE, BLUE), [GREY, (20, 20, 20)]))
    assert np.abs(changed[1:]).max() < 2
    assert sorted(changed[0, [0, 2]]) == pytest.approx(
        sorted(lab(stripes(GREY, (20,) * 3))[0]), abs=2
    )


def test_a_colour_given_twice_is_one() -> None:
    source = stripes(RED, WHITE, BLUE)
    once, twice = recolour_with(source, [TEAL]), recolour_with(source, [TEAL, TEAL])
    assert np.array_equal(np.asarray(once), np.asarray(twice))


def test_shades_of_a_region_stay_in_order_and_a_gradient_has_no_steps() -> None:
    share = np.linspace(0, 1, 256)[None, :, None]
    ramp = np.array(RED) * (1 - share) + np.array(BLUE) * share + 60 * np.sin(6 * share)
    source = Image.fromarray(ramp.round().clip(0, 255).astype(np.uint8).repeat(40, axis=0))
    for given in ([VIVID_GREEN], [VIVID_GREEN, VIVID_BLUE]):
        values = all_lab(recolour_with(source, given))[:, 20]
        assert np.linalg.norm(np.diff(values), axis=0).max() < 20
    one = all_lab(recolour_with(source, [VIVID_GREEN]))[0, 20]
    own = all_lab(source)[0, 20]
    assert np.corrcoef(one, own)[0, 1] > 0.95


def test_a_reference_changes_colours_and_keeps_the_lightness() -> None:
    source = stripes(RED, GREEN, BLUE)
    lightness, a, b = lab(recolour_like(source, stripes(OCHRE, TEAL, BLUE))) - lab(source)
    assert np.abs(lightness).max() < 1
    assert np.hypot(a, b).max() > 15


def test_a_reference_determines_the_mean_and_spread_of_chroma() -> None:
    reference = lab(stripes(OCHRE, TEAL))[1:]
    changed = lab(recolour_like(stripes(RED, BLUE), stripes(OCHRE, TEAL)))[1:]
    assert changed.mean(axis=1) == pytest.approx(reference.mean(axis=1), abs=2)
    assert changed.std(axis=1) == pytest.approx(reference.std(axis=1), abs=2)


@pytest.mark.parametrize("hidden", [WHITE, (0, 200, 0)], ids=["white", "another colour"])
def test_what_is_transparent_in_a_reference_does_not_count(hidden: Colour) -> None:
    opaque = stripes(OCHRE, TEAL, RED)
    cut_out = Image.new("RGBA", (400, 300), (*hidden, 0))
    cut_out.paste(opaque.convert("RGBA"), (100, 100))
    source = stripes(RED, WHITE, BLUE)
    moved = difference(recolour_like(source, cut_out), recolour_like(source, opaque))
    assert np.median(moved) < 2
    assert moved.max() < 4
    found, expected = (np.array(find_main_colours(each, 3)) for each in (cut_out, opaque))
    assert np.abs(found - expected).max() < 8


def test_a_whole_large_picture_is_recoloured() -> None:
    tall = Image.new("RGB", (3, 700), RED)
    changed = np.asarray(recolour_with(tall, [TEAL]))
    assert (changed == changed[0, 0]).all()
    assert np.abs(changed[0, 0].astype(int) - TEAL).max() <= 2


def test_a_grey_picture_is_unchanged() -> None:
    grey = Image.new("RGB", (50, 50), (128, 128, 128))
    assert np.array_equal(np.asarray(recolour_with(grey, [RED, BLUE])), np.asarray(grey))


def test_main_colours_are_found_by_frequency_without_paper_and_grey() -> None:
    picture = stripes(BLUE, RED, WHITE, RED)  # small enough not to be shrunk
    assert find_main_colours(picture, 2) == [RED, BLUE]
    assert find_main_colours(picture, 12) == [RED, BLUE]
    assert find_main_colours(stripes(WHITE, (90, 90, 90)), 1) == []
    assert find_main_colours(Image.new("RGBA", (9, 9), (200, 0, 0, 0)), 1) == []
    with pytest.raises(ValueError, match="count must be 1 to 12"):
        find_main_colours(picture, 13)


def test_colours_are_read_with_and_without_a_hash() -> None:
    assert parse_colours("#ff8800, 2244AA") == [(255, 136, 0), (34, 68, 170)]
    assert len(parse_colours(",".join(["#ff8800"] * 12))) == 12


@pytest.mark.parametrize("text", ["", "red", "#ff88", "#ff8800,", ",".join(["#ff8800"] * 13)])
def test_invalid_palettes_are_refused(text: str) -> None:
    with pytest.raises(PictureError, match="1 to 12 colours"):
        parse_colours(text)


def test_a_palette_moves_pale_areas_in_a_strip_as_on_a_page() -> None:
    page, lines = Image.new("RGB", (100, 110), "white"), Image.new("L", (100, 110), 255)
    box = (30, 30, 70, 70)
    ImageDraw.Draw(page).rectangle(box, fill=(214, 232, 208))  # too pale to count by itself
    ImageDraw.Draw(lines).rectangle(box, outline=0, width=4)
    strip, its_lines = (Image.new(each.mode, (100, 4400), "white") for each in (page, lines))
    for top in range(0, 4400, 110):
        strip.paste(page, (0, top))
        its_lines.paste(lines, (0, top))
    wanted = np.asarray(recolour_with(page, [(255, 0, 0)], lines=lines)).astype(int)
    found = np.asarray(recolour_with(strip, [(255, 0, 0)], lines=its_lines)).astype(int)
    assert np.abs(wanted - np.asarray(page))[40:60, 40:60].mean() > 20
    for top in (0, 2200, 4290):
        assert np.abs(found[top : top + 110] - wanted)[40:60, 40:60].mean() < 5
        assert (found[top : top + 20] == 255).all()
