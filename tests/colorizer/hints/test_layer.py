"""Hints of every kind become one layer: opaque in a hint, transparent elsewhere."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.base.errors import HintError, PictureError
from colorizer.hints.hint import Hint, format_json
from colorizer.hints.layer import make_layer
from colorizer.pictures.decoder_process import DecoderProcess
from tests.colorizer.drawing import draw, png

SIZE = (60, 40)
PEACH = (232, 176, 144)


def colours_of(layer: Image.Image) -> dict[tuple[int, ...], int]:
    """Colour → pixels, of what is opaque."""
    pixels = np.asarray(layer)
    opaque = pixels[pixels[..., 3] == 255][:, :3]
    values, counts = np.unique(opaque, axis=0, return_counts=True)
    return {tuple(value.tolist()): int(count) for value, count in zip(values, counts, strict=True)}


def test_a_dot_covers_its_circle() -> None:
    layer = make_layer([Hint(20, 10, "#e8b090", 5)], SIZE).picture
    assert layer.size == SIZE
    (count,) = colours_of(layer).values()
    assert 65 <= count <= 100  # π·5² is 79
    assert layer.getpixel((20, 10)) == (*PEACH, 255)
    assert layer.getpixel((20, 17)) == (0, 0, 0, 0)


def test_the_smallest_dot_has_a_pixel_and_later_dots_cover_earlier_ones() -> None:
    layer = make_layer([Hint(59.9, 39.9, "#e8b090", 0.01)], SIZE).picture
    assert layer.getpixel((59, 39)) == (*PEACH, 255)
    layer = make_layer([Hint(9, 9, "#e8b090", 5), Hint(9, 9, "#ffffff", 5)], SIZE).picture
    assert list(colours_of(layer)) == [(255, 255, 255)]


@pytest.mark.parametrize("hint", [Hint(60, 5, "#e8b090"), Hint(5, 40, "#e8b090")])
def test_a_hint_outside_is_refused_by_its_number(hint: Hint) -> None:
    with pytest.raises(HintError, match=r"hint 2 at .* lies outside the picture of 60×40"):
        make_layer([Hint(1, 1, "#ffffff"), hint], SIZE)


def test_the_same_dots_come_from_a_list_and_from_json(tmp_path: Path) -> None:
    hints = [Hint(20, 10, "#e8b090", 5), Hint(40, 30, "#2244aa", 2)]
    path = tmp_path / "dots.json"
    path.write_text(format_json(hints, SIZE))
    expected = make_layer(hints, SIZE).picture.tobytes()
    for source in (path, str(path), path.read_bytes()):
        assert make_layer(source, SIZE).picture.tobytes() == expected


def test_of_a_painted_picture_what_is_opaque_counts(tmp_path: Path) -> None:
    picture = Image.new("RGBA", SIZE, (9, 9, 9, 60))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((5, 5, 9, 9), fill=(*PEACH, 255))
    pen.rectangle((20, 5, 24, 9), fill=(255, 255, 255, 200))
    picture.save(tmp_path / "painted.png")
    for source in (picture, tmp_path / "painted.png", png(picture)):
        assert colours_of(make_layer(source, SIZE).picture) == {PEACH: 25, (255, 255, 255): 25}


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_colours_painted_on_the_sketch_survive_jpeg(quality: int) -> None:
    picture = draw(240, 160).convert("L").convert("RGB")
    pen = ImageDraw.Draw(picture)
    dots = {(60, 40): (220, 60, 60), (180, 120): (60, 160, 90), (30, 130): (240, 200, 60)}
    for (x, y), colour in dots.items():
        pen.circle((x, y), 7, fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    layer = make_layer(buffer.getvalue(), picture.size).picture
    pixels = np.asarray(layer)
    rows, columns = np.nonzero(pixels[..., 3])
    found = set()
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        near = [dot for dot in dots if (dot[0] - x) ** 2 + (dot[1] - y) ** 2 <= 9**2]
        assert near, f"a stray hint at {x}, {y}"
        found.add(near[0])
    assert found == set(dots)
    for (x, y), colour in dots.items():
        within = (rows - y) ** 2 + (columns - x) ** 2 <= 5**2
        mean = pixels[rows[within], columns[within], :3].mean(axis=0)
        assert np.abs(mean - colour).max() <= 12


def test_a_picture_without_paint_is_refused() -> None:
    grey = Image.new("RGB", SIZE, "white")
    ImageDraw.Draw(grey).line((0, 0, 59, 39), fill="black")
    for picture in (grey, Image.new("RGBA", SIZE)):
        with pytest.raises(HintError, match="nothing is painted"):
            make_layer(picture, SIZE)


def test_another_size_is_refused_with_both(tmp_path: Path) -> None:
    Image.new("RGBA", (30, 40), "red").save(tmp_path / "small.png")
    with pytest.raises(HintError, match=r"small\.png: the hint picture is 30×40, the sketch 60×40"):
        make_layer(tmp_path / "small.png", SIZE)


def test_files_are_decoded_in_the_decoders_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("RGBA", SIZE)
    picture.paste((*PEACH, 255), (5, 5, 10, 10))
    picture.save(tmp_path / "painted.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 99)
    monkeypatch.delattr("colorizer.hints.layer.open_with_alpha")  # which decodes in this one
    with DecoderProcess() as decoder:
        layer = make_layer(tmp_path / "painted.png", SIZE, decoder=decoder).picture
        assert colours_of(layer) == colours_of(make_layer(picture, SIZE).picture)
        assert make_layer(png(picture), SIZE, decoder=decoder).picture.tobytes() == layer.tobytes()
        with pytest.raises(PictureError, match=r"broken\.png"):
            make_layer(tmp_path / "broken.png", SIZE, decoder=decoder)


def test_files_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name, error in (("missing.json", HintError), ("broken.png", PictureError)):
        with pytest.raises(error, match=name):
            make_layer(tmp_path / name, SIZE)
