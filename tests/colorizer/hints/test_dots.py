"""A painted layer becomes dots that draw it again, but for a pixel at edges."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter

from colorizer.base.errors import HintError
from colorizer.hints import dots
from colorizer.hints.dots import cover, read_dots
from colorizer.hints.hint import Hint
from colorizer.hints.layer import draw_dots, make_layer
from tests.colorizer.drawing import png

SIZE = (240, 160)
PAINT = {(232, 176, 144): "#e8b090", (20, 40, 240): "#1428f0", (255, 255, 255): "#ffffff"}


def paint() -> Image.Image:
    """A thick line, a thin one across it, and a white area."""
    layer = Image.new("RGBA", SIZE)
    pen = ImageDraw.Draw(layer)
    first, second, white = PAINT
    pen.line((20, 20, 200, 120), fill=(*first, 255), width=11)
    pen.line((200, 10, 30, 100), fill=(*second, 255), width=1)
    pen.rectangle((130, 10, 190, 50), fill=(*white, 255))
    return layer


def grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    wide = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).filter(ImageFilter.MaxFilter(3))
    return np.asarray(wide) > 0


def test_dots_draw_what_was_painted() -> None:
    layer = paint()
    found = cover(layer)
    assert {dot.colour for dot in found} == set(PAINT.values())
    drawn = draw_dots(found, SIZE)
    for colour in PAINT:
        before, after = (
            (np.asarray(each) == (*colour, 255)).all(axis=-1) for each in (layer, drawn)
        )
        assert not (before & ~grown(after)).any()
        assert not (after & ~before).any()


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 12])
def test_a_dot_becomes_itself(radius: int) -> None:
    hint = Hint(40, 30, "#e8b090", radius)
    assert cover(draw_dots([hint], SIZE)) == [hint]


def test_a_pixel_becomes_a_dot_of_a_pixel() -> None:
    layer = Image.new("RGBA", SIZE)
    layer.putpixel((239, 159), (1, 2, 3, 255))
    assert draw_dots(cover(layer), SIZE).tobytes() == layer.tobytes()


def test_a_soft_brush_is_of_one_colour() -> None:
    brush = Image.new("L", SIZE)
    ImageDraw.Draw(brush).line((30, 30, 200, 120), fill=255, width=14)
    picture = Image.new("RGBA", SIZE, (210, 90, 60, 255))
    picture.putalpha(brush.filter(ImageFilter.GaussianBlur(2)))
    layer = make_layer(png(picture), SIZE).picture
    colours = np.array([dot.rgb for dot in cover(layer)])
    assert len(np.unique(colours, axis=0)) == 1
    assert np.abs(colours - (210, 90, 60)).max() <= 1


def test_what_is_painted_is_read_as_dots_of_its_size() -> None:
    size, found = read_dots(png(paint()))
    assert size == SIZE
    assert found == cover(paint())


def test_json_is_read_with_or_without_a_size() -> None:
    entry = {"x": 5, "y": 6, "colour": "#e8b090"}
    hint = Hint(5, 6, "#e8b090")
    assert read_dots(json.dumps([entry]).encode()) == (None, [hint])
    document = {"width": 8, "height": 9, "hints": [entry]}
    assert read_dots(json.dumps(document).encode()) == ((8, 9), [hint])
    for change, reason in (
        ({"width": 5}, "hint 1 at 5, 6 lies outside"),
        ({"width": "8"}, "width"),
    ):
        with pytest.raises(HintError, match=reason):
            read_dots(json.dumps(document | change).encode())


def test_what_would_be_too_many_dots_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((240, 240, 4), np.uint8)
    pixels[::2, ::2] = (200, 10, 10, 255)
    with pytest.raises(HintError, match="more than 10,000 dots; send the picture as hints itself"):
        cover(Image.fromarray(pixels))
    monkeypatch.setattr(dots, "MAX_PAINTED_PX", 14_000)
    with pytest.raises(HintError, match="more than 14,000 pixels are painted"):
        cover(Image.fromarray(pixels))
