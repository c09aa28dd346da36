"""Photos, scans and white on black become line art."""

import colorsys
import io
import zipfile
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from colorizer.look.artwork import Artwork
from colorizer.pictures.decoding import Decoded, open_with_alpha
from colorizer.pictures.sketch import clean_lines, to_sketch
from tests.colorizer.drawing import draw, grey_photo, ink_alone, night_scene, png


def photograph(drawing: Image.Image) -> Image.Image:
    """The drawing on grey paper, lit from the right, with noise."""
    values = np.asarray(drawing.convert("L")).astype(float)
    light = np.linspace(0.45, 0.95, drawing.width)
    noise = np.random.default_rng(1).normal(0, 5, values.shape)
    return Image.fromarray(((values * 0.8 + 25) * light + noise).clip(0, 255).astype(np.uint8))


def test_a_photo_becomes_line_art() -> None:
    drawing = draw(400, 300)
    cleaned = np.asarray(clean_lines(photograph(drawing)))
    ink = np.asarray(drawing.convert("L")) < 128
    inner = np.asarray(drawing.convert("L")) == 255
    assert (cleaned[inner] > 250).mean() > 0.97
    assert (cleaned[ink] < 100).mean() > 0.95


def test_clean_line_art_is_nearly_unchanged() -> None:
    drawing = draw(400, 300).convert("L")
    difference = np.abs(np.asarray(clean_lines(drawing)).astype(int) - np.asarray(drawing))
    assert (difference > 60).mean() < 0.01


PENCILS = {"red": (220, 40, 40), "blue": (70, 100, 220), "green": (30, 150, 60)}


def scribbles(paper: tuple[int, int, int]) -> Image.Image:
    """A stroke of each pencil and a black one, from top to bottom."""
    picture = Image.new("RGB", (400, 300), paper)
    pen = ImageDraw.Draw(picture)
    for row, colour in enumerate([*PENCILS.values(), (25, 25, 27)]):
        pen.line((20, 60 + 60 * row, 380, 50 + 60 * row), fill=colour, width=6)
    return picture


def hue_distance_deg(one: Iterable[float], other: Iterable[float]) -> float:
    """How far apart the hues of two RGB colours are: 0..180."""
    hues = [360 * colorsys.rgb_to_hsv(*(level / 255 for level in each))[0] for each in (one, other)]
    return abs((hues[0] - hues[1] + 180) % 360 - 180)


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (1.0, 0.93, 0.8)], ids=["scan", "warm photo"])
def test_cleaning_keeps_the_hue_of_coloured_lines(light: tuple[float, ...]) -> None:
    values = np.asarray(scribbles((250, 250, 250))) * np.array(light)
    values *= np.linspace(0.7, 1, 400)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 3, values.shape)
    photo = Image.fromarray((values + noise).clip(0, 255).astype(np.uint8))
    sketch = to_sketch(Decoded(photo, None), clean=True)
    lines = np.asarray(sketch.lines)
    assert (lines[:30] > 250).mean() > 0.97
    for row, colour in enumerate(PENCILS.values()):
        stroke = np.median(lines[54 + 60 * row : 57 + 60 * row, 190:210], (0, 1))
        assert hue_distance_deg(stroke, colour) < 12
        assert stroke.max() - stroke.min() > 100
    black = np.median(lines[234:237, 190:210], (0, 1))
    assert black.max() < 20


def test_cleaned_pencil_and_ink_without_colour_stay_grey() -> None:
    sketch = to_sketch(Decoded(photograph(draw(400, 300)).convert("RGB"), None), clean=True)
    assert sketch.lines.tobytes() == sketch.grey.convert("RGB").tobytes()


def test_coloured_trace_lines_reach_the_lines_layer_of_an_openraster_file() -> None:
    lines = to_sketch(Decoded(scribbles((255, 255, 255)), None), clean=True).lines
    artwork = Artwork(Image.new("RGB", lines.size, (250, 240, 220)), lines, None)
    with zipfile.ZipFile(io.BytesIO(artwork.encode(".ora"))) as archive:
        ink = Image.open(io.BytesIO(archive.read("data/layer0.png"))).convert("RGBA")
    for row, colour in enumerate(PENCILS.values()):
        *found, alpha = np.median(np.asarray(ink)[54 + 60 * row : 57 + 60 * row, 190:210], (0, 1))
        assert alpha > 200
        assert hue_distance_deg(found, colour) < 12


def test_only_grey_pictures_are_accepted() -> None:
    with pytest.raises(ValueError, match="mode L"):
        clean_lines(draw())


def test_light_on_dark_becomes_exactly_the_drawing_that_it_was() -> None:
    drawing = draw(200, 150).convert("L").convert("RGB")
    sketch = to_sketch(Decoded(ImageOps.invert(drawing), None))
    assert sketch.was_light_on_dark
    assert sketch.lines.tobytes() == drawing.tobytes()
    assert sketch.grey.tobytes() == drawing.convert("L").tobytes()


def test_white_on_a_dark_tint_becomes_dark_on_white() -> None:
    drawing = draw(200, 150).convert("L")
    sketch = to_sketch(Decoded(ImageOps.colorize(drawing, "white", (24, 48, 120)), None))
    for picture in (sketch.grey, sketch.lines.convert("L")):
        difference = np.asarray(picture).astype(int) - np.asarray(drawing)
        assert np.abs(difference).max() <= 2


def test_coloured_lines_keep_their_hue_when_they_are_turned_around() -> None:
    black = Image.new("RGB", (200, 150))
    ImageDraw.Draw(black).line((0, 75, 200, 75), fill=(255, 120, 120), width=3)
    sketch = to_sketch(Decoded(black, None))
    assert sketch.was_light_on_dark
    assert sketch.lines.getpixel((0, 0)) == (255, 255, 255)
    assert sketch.lines.getpixel((100, 75)) == (135, 0, 0)


def test_the_model_sees_no_tint_of_the_paper_but_the_lines_keep_it() -> None:
    drawing = draw(200, 150).convert("L")
    tinted = ImageOps.colorize(drawing, "black", (250, 225, 170))
    sketch = to_sketch(Decoded(tinted, None))
    assert np.abs(np.asarray(sketch.grey).astype(int) - np.asarray(drawing)).max() <= 2
    assert sketch.lines.tobytes() == tinted.tobytes()


def test_a_photos_levels_are_not_stretched() -> None:
    photo = grey_photo()
    assert to_sketch(Decoded(photo, None)).grey.tobytes() == photo.convert("L").tobytes()


def test_a_coloured_night_scene_is_not_turned_around() -> None:
    scene = night_scene()
    sketch = to_sketch(Decoded(scene, None))
    assert sketch.is_coloured
    assert not sketch.was_light_on_dark
    assert sketch.lines.tobytes() == scene.tobytes()


def test_black_lines_on_transparency_are_not_inverted() -> None:
    drawing = draw(200, 150)
    sketch = to_sketch(open_with_alpha(png(ink_alone(drawing))))
    difference = np.asarray(sketch.lines.convert("L")).astype(int) - np.asarray(
        drawing.convert("L")
    )
    assert np.abs(difference).max() <= 1


def test_transparent_pixels_become_paper_also_in_an_inverted_sketch() -> None:
    drawing = ImageOps.invert(draw(200, 150))
    alpha = Image.new("L", drawing.size, 255)
    alpha.paste(0, (0, 0, 50, 150))
    drawing.paste((255, 255, 255), (0, 0, 50, 150))  # as a decoder composites it on white
    lines = np.asarray(to_sketch(Decoded(drawing, alpha)).lines)
    assert (lines[:, :50] == 255).all()
    assert (lines[:, 60:] == 255).mean() > 0.5
