"""What is paper and what is ink, whatever the paper's colour; what is painted."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from colorizer.pictures.paper import find_paper, look_at, on_white
from tests.colorizer.drawing import draw

TINTS = [(255, 255, 255), (255, 244, 225), (250, 225, 170), (200, 160, 110), (190, 215, 250)]
Colour = tuple[int, int, int]


def on_paper(drawing: Image.Image, paper: Colour, ink_colour: Colour = (0, 0, 0)) -> Image.Image:
    """The drawing in another ink on another paper."""
    share = np.asarray(drawing.convert("L"))[..., None] / 255
    values = share * np.array(paper) + (1 - share) * np.array(ink_colour)
    return Image.fromarray(np.rint(values).astype(np.uint8))


def night_scene() -> Image.Image:
    picture = Image.new("RGB", (300, 200), (12, 16, 48))
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, 140, 300, 200), fill=(14, 44, 24))
    brush.ellipse((220, 20, 270, 70), fill=(236, 224, 150))
    brush.rectangle((40, 80, 120, 170), fill=(60, 34, 30))
    brush.rectangle((60, 100, 80, 120), fill=(250, 190, 70))
    return picture


@pytest.mark.parametrize("tint", TINTS)
def test_the_papers_colour_is_found_in_spite_of_grain(tint: Colour) -> None:
    drawing = np.asarray(on_paper(draw(300, 200), tint)).astype(float)
    grain = np.random.default_rng(1).normal(0, 3, drawing.shape)
    paper = find_paper(Image.fromarray((drawing + grain).clip(0, 255).astype(np.uint8)))
    assert np.abs(np.subtract(paper.colour, tint)).max() <= 3
    assert paper.share > 0.5


@pytest.mark.parametrize("tint", TINTS)
def test_ink_is_the_same_on_any_paper(tint: Colour) -> None:
    drawing = draw(300, 200).convert("L").convert("RGB")
    tinted = on_paper(drawing, tint)
    difference = np.asarray(on_white(tinted, find_paper(tinted))).astype(int) - drawing
    assert np.abs(difference).max() <= 2


def test_a_drawing_on_white_paper_is_not_changed() -> None:
    drawing = draw(300, 200)
    assert on_white(drawing, find_paper(drawing)).tobytes() == drawing.tobytes()


@pytest.mark.parametrize("tint", TINTS)
@pytest.mark.parametrize("ink_colour", [(0, 0, 0), (90, 140, 230), (220, 70, 60)])
def test_tinted_paper_and_coloured_pencil_are_not_paint(tint: Colour, ink_colour: Colour) -> None:
    page = look_at(on_paper(draw(300, 200), tint, ink_colour))
    assert not page.is_coloured
    assert not page.is_light_on_dark


@pytest.mark.parametrize("paper", [(0, 0, 0), (20, 20, 26), (24, 48, 120), (24, 60, 44)])
def test_light_on_dark_is_a_drawing_not_a_coloured_picture(paper: Colour) -> None:
    page = look_at(on_paper(draw(300, 200), paper, (245, 245, 245)))
    assert page.is_light_on_dark
    assert not page.is_coloured


def test_a_night_scene_is_coloured_and_not_light_on_dark() -> None:
    page = look_at(night_scene())
    assert page.is_coloured
    assert not page.is_light_on_dark


@pytest.mark.parametrize("paper", [(255, 255, 255), (250, 225, 170), (16, 16, 20)])
def test_a_painted_drawing_is_coloured(paper: Colour) -> None:
    picture = on_paper(draw(300, 200), paper)
    brush = ImageDraw.Draw(picture)
    brush.rectangle((100, 60, 160, 120), fill=(90, 170, 240))
    brush.rectangle((170, 60, 220, 120), fill=(240, 190, 160))
    page = look_at(picture)
    assert page.is_coloured
    assert not page.is_light_on_dark


def test_a_sepia_print_is_not_coloured() -> None:
    grey = np.asarray(draw(300, 200).convert("L")).astype(float)
    grey -= np.linspace(0, 120, 300)  # shaded
    sepia = grey.clip(0, 255)[..., None] * np.array([1.351, 1.203, 0.937])
    assert not look_at(Image.fromarray(sepia.clip(0, 255).astype(np.uint8))).is_coloured


def test_a_dark_grey_photo_is_not_light_on_dark() -> None:
    noise = np.random.default_rng(1).uniform(0, 150, (12, 18)).astype(np.uint8)
    photo = Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC).convert("RGB")
    assert not look_at(photo).is_light_on_dark


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="mode RGB"):
        look_at(ImageOps.invert(draw().convert("L")))


@pytest.mark.parametrize("paint", [(248, 232, 217), (200, 214, 250), (214, 250, 214)])
def test_pale_paint_of_one_hue_is_shading(paint: Colour) -> None:
    picture = on_paper(draw(300, 200), (255, 255, 255))
    ImageDraw.Draw(picture).rectangle((100, 60, 200, 140), fill=paint)
    assert not look_at(picture).is_coloured


def test_a_dark_greyscale_photo_and_a_faint_night_scene_are_not_light_on_dark() -> None:
    scene = night_scene().point([value // 2 for value in range(256)] * 3)
    assert look_at(scene).is_coloured
    for picture in (scene, scene.convert("L").convert("RGB")):
        assert not look_at(picture).is_light_on_dark


def test_a_black_and_white_night_page_is_not_light_on_dark() -> None:
    page = Image.new("RGB", (300, 200), "black")
    brush = ImageDraw.Draw(page)
    brush.ellipse((110, 50, 190, 150), fill="white", outline="black")
    brush.line((120, 90, 180, 90), fill="black", width=3)
    assert not look_at(page).is_light_on_dark
