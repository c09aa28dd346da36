"""Hints over real HTTP on loopback: the form's field, its errors, and what a model says."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image, ImageDraw

from colorizer import ColorizeOptions, Colorizer
from colorizer.hints.hint import MAX_JSON_BYTES, Hint, format_json
from colorizer.studio.limits import Limits
from tests.colorizer.drawing import draw, png
from tests.colorizer.studio.running import Studio, running_studio

SIZE = (80, 60)
SKETCH = png(draw(*SIZE))
HINT = Hint(40, 20, "#e8b090", 4)
DOT = {"x": 40, "y": 20, "colour": "#e8b090", "radius": 4}
MAX_BODY_BYTES = MAX_JSON_BYTES + 100_000


@pytest.fixture(scope="module")
def studio(
    hint_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    """Its model ``folder`` takes hints, ``other`` doesn't."""
    home = tmp_path_factory.mktemp("studio")
    limits = Limits(max_body_bytes=MAX_BODY_BYTES, max_pixels=100_000, workers=1)
    with running_studio(hint_folder, home, limits, other_folder=model_folder) as studio:
        yield studio


@pytest.fixture(scope="module")
def hinted(hint_folder: Path) -> Colorizer:
    return Colorizer.load(hint_folder)


def send(
    studio: Studio, hints: str | bytes, sketch: bytes = SKETCH, *, text: bool = False, **query: Any
) -> requests.Response:
    """Send a form; ``text``: hints as a text field, not as a file."""
    form: dict[str, Any] = {
        "file": ("sketch.png", sketch),
        "hints": (None if text else "dots", hints),
    }
    return requests.post(f"{studio.url}/colorize", files=form, params=query, timeout=30)


def paint(size: tuple[int, int] = SIZE) -> Image.Image:
    """The hint, painted on a transparent picture."""
    picture = Image.new("RGBA", size)
    ImageDraw.Draw(picture).circle((HINT.x, HINT.y), HINT.radius, fill=(*HINT.rgb, 255))
    return picture


def pixels(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def test_hints_of_every_kind_colour_as_in_the_runtime(studio: Studio, hinted: Colorizer) -> None:
    expected = hinted.draw(SKETCH, hints=[HINT]).encode(".png")
    assert expected != studio.post(SKETCH).content
    text = format_json([HINT], SIZE)
    for hints, is_text in (
        (text, True),
        (text, False),
        (json.dumps([DOT]), True),
        ("\ufeff" + text, False),
        (png(paint()), False),
    ):
        response = send(studio, hints, text=is_text)
        assert (response.status_code, response.content) == (200, expected), response.text


def test_hints_go_with_other_options_and_formats(studio: Studio, hinted: Colorizer) -> None:
    options = ColorizeOptions(seed=3, palette="#ff8800", line_strength=0.5)
    artwork = hinted.draw(SKETCH, options, hints=[HINT])
    query: dict[str, Any] = {"seed": 3, "palette": "#ff8800", "line_strength": 0.5}
    for kind, layer in (("jpg", "picture"), ("webp", "picture"), ("png", "colour")):
        response = send(studio, json.dumps([DOT]), format=kind, layer=layer, **query)
        assert response.content == artwork.encode(f".{kind}", layer)  # type: ignore[arg-type]


def test_no_hints_give_the_picture_without_any(studio: Studio) -> None:
    plain = studio.post(SKETCH).content
    for hints in ("[]", '{"hints": []}'):
        response = send(studio, hints, text=True)
        assert (response.status_code, response.content) == (200, plain)


def test_coordinates_are_of_the_upright_sketch(studio: Studio) -> None:
    """A camera's JPEG is stored lying down, and says by EXIF how it is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    lying = io.BytesIO()
    upright = draw(*SIZE)
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, "PNG", exif=exif)
    expected = pixels(send(studio, format_json([HINT], SIZE)).content)
    for hints in (format_json([HINT], SIZE), png(paint())):
        response = send(studio, hints, lying.getvalue())
        assert response.status_code == 200, response.text
        assert np.array_equal(pixels(response.content), expected)
    turned = send(studio, format_json([HINT], SIZE[::-1]), lying.getvalue())
    assert turned.status_code == 400
    assert "the hints are for a picture of 60×80, this one is 80×60" in turned.json()["detail"]


NOTHING = png(Image.new("RGBA", SIZE))
LARGE = png(Image.new("RGBA", (400, 300)))


@pytest.mark.parametrize(
    ("hints", "status", "reason"),
    [
        (json.dumps([DOT, DOT | {"x": 80}]), 400, "hint 2 at 80, 20 lies outside the picture"),
        (json.dumps([DOT, DOT | {"y": -1}]), 400, "hint 2: lies outside the picture"),
        (json.dumps([DOT | {"colour": "peach"}]), 400, "hint 1: colour must be like #e8b090"),
        (json.dumps([DOT | {"x": float("nan")}]), 400, "hint 1: x must be a finite number"),
        (json.dumps([DOT] * 10_001), 400, "10,001 hints; at most 10,000"),
        ("[" + " " * MAX_JSON_BYTES + "]", 400, "more than 4 MiB of JSON"),
        (" " * MAX_BODY_BYTES + "[]", 413, f"at most {MAX_BODY_BYTES} are accepted"),
        ("[" * 100_000, 400, "hints: not valid JSON"),
        ("peach", 400, "the hints: not a picture"),
        (" ", 400, "'hints' is empty"),
        (png(paint((60, 80))), 400, "the hint picture is 60×80, the sketch 80×60"),
        (NOTHING, 400, "nothing is painted in the hint picture"),
        (png(paint())[:-40], 400, "the hints: "),
        (LARGE, 413, "the hints: too large: 400×300 px"),
    ],
)
def test_wrong_hints_are_refused_in_one_line(
    studio: Studio, hints: str | bytes, status: int, reason: str
) -> None:
    response = send(studio, hints)
    assert response.status_code == status
    detail = response.json()["detail"]
    assert reason in detail
    assert "\n" not in detail


def test_a_model_says_whether_it_takes_hints(studio: Studio) -> None:
    models = requests.get(f"{studio.url}/model", timeout=10).json()
    takes = {model["name"]: model["takes_hints"] for model in models}
    assert takes == {"folder": True, "other": False, "toy": True}
    response = send(studio, "[]", model="other")
    assert response.status_code == 400
    assert "the model other takes no hints: leave them out" in response.json()["detail"]


def test_fields_of_another_name_are_refused_by_name(studio: Studio) -> None:
    for route, fields, known in (
        ("colorize", {"hint": "[]"}, "file, hints"),
        ("palette", {"hints": "[]"}, "file"),
    ):
        response = requests.post(
            f"{studio.url}/{route}", files={"file": SKETCH}, data=fields, timeout=10
        )
        assert response.status_code == 400
        name = next(iter(fields))
        assert f"no form field {name!r}; known: {known};" in response.json()["detail"]


def test_the_schema_describes_hints_as_they_are_taken(studio: Studio) -> None:
    schema = requests.get(f"{studio.url}/openapi.json", timeout=10).json()
    form = schema["paths"]["/colorize"]["post"]["requestBody"]["content"]["multipart/form-data"]
    properties = form["schema"]["properties"]
    assert set(properties) == {"file", "hints"}
    listed = next(each for each in properties["hints"]["anyOf"] if each.get("type") == "array")
    assert listed["maxItems"] == 10_000
    assert set(listed["items"]["properties"]) == set(DOT)
    assert "application/json" in form["encoding"]["hints"]["contentType"]
    palette = schema["paths"]["/palette"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(palette["schema"]["properties"]) == {"file"}


def test_an_ora_keeps_hints_and_is_read_back(studio: Studio, hinted: Colorizer) -> None:
    text = format_json([HINT], SIZE)
    ora = send(studio, text, format="ora").content
    assert ora == hinted.draw(SKETCH, hints=[HINT]).encode(".ora")
    assert send(studio, ora).content == send(studio, text).content
    assert send(studio, "[]", format="ora").content == studio.post(SKETCH, format="ora").content
    response = send(studio, studio.post(SKETCH, format="ora").content)
    assert response.status_code == 400
    assert "the .ora has no layer named 'hints'" in response.json()["detail"]


def read(studio: Studio, data: str | bytes) -> requests.Response:
    return requests.post(f"{studio.url}/hints", data=data, timeout=30)


def test_hints_of_every_kind_are_read_as_dots(studio: Studio) -> None:
    text = format_json([HINT], SIZE)
    expected = {"width": 80, "height": 60, "hints": [DOT]}
    ora = send(studio, text, format="ora").content
    for data in (text, ora, png(paint())):
        response = read(studio, data)
        assert (response.status_code, response.json()) == (200, expected)
    form = requests.post(f"{studio.url}/hints", files={"file": ora}, timeout=30)
    assert form.json() == expected
    listed = read(studio, json.dumps([DOT])).json()
    assert listed == {"width": None, "height": None, "hints": [DOT]}


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 400, "empty"),
        (b"peach", 400, "the hints: not a picture"),
        (b"{", 400, "hints: not valid JSON"),
        (NOTHING, 400, "nothing is painted"),
        (LARGE, 413, "the hints: too large"),
        (b"PK\x03\x04", 400, "not an .ora, or a damaged one"),
        (b"x" * (MAX_BODY_BYTES + 1), 413, "are accepted"),
    ],
)
def test_what_holds_no_hints_is_refused(
    studio: Studio, data: bytes, status: int, reason: str
) -> None:
    response = read(studio, data)
    assert (response.status_code, reason in response.json()["detail"]) == (status, True)
