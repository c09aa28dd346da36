"""The runtime keeps a sketch's size, lines and transparency."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from colorizer import ColorizeOptions, Colorizer
from colorizer.base.errors import ModelFolderError, PictureError
from colorizer.look.upscaling import spread_colours
from tests.colorizer.drawing import draw, ink_alone, png


@pytest.mark.parametrize(
    "size", [(16, 16), (1, 1), (1, 300), (300, 1), (32, 32), (100, 37), (333, 517), (1500, 1100)]
)
def test_a_picture_has_the_size_of_its_sketch(colorizer: Colorizer, size: tuple[int, int]) -> None:
    coloured = colorizer(png(draw(*size)))
    assert (coloured.size, coloured.mode) == (size, "RGB")


def test_colours_are_those_of_the_model_at_the_same_position(colorizer: Colorizer) -> None:
    sketch = draw(32, 16)
    square = np.full((32, 32), 255, np.uint8)
    square[8:24] = np.asarray(sketch.convert("L"))
    painted = colorizer.session.colour([square])[0, 8:24]
    expected = spread_colours(painted, sketch.convert("L"))
    colour = colorizer.draw(png(sketch)).colour
    assert np.array_equal(np.asarray(colour), np.asarray(expected))
    assert np.asarray(colour).std() > 1


def test_lines_are_nowhere_brighter_than_in_the_sketch(colorizer: Colorizer) -> None:
    sketch = draw(400, 300)
    assert (np.asarray(colorizer(png(sketch))) <= np.asarray(sketch)).all()


def test_transparency_is_kept_bit_for_bit(colorizer: Colorizer) -> None:
    sketch = draw(200, 150).convert("RGBA")
    alpha = Image.effect_noise(sketch.size, 90)
    sketch.putalpha(alpha)
    artwork = colorizer.draw(png(sketch))
    for picture in (artwork.picture(), artwork.picture("colour"), artwork.picture("lines")):
        assert picture.mode == "RGBA"
        assert np.array_equal(np.asarray(picture)[..., 3], np.asarray(alpha))


def test_transparent_line_art_is_coloured_like_line_art_on_white(colorizer: Colorizer) -> None:
    drawing = draw(200, 150).convert("L")
    bare = colorizer.draw(png(ink_alone(drawing)))
    assert bare.hides_its_colours
    assert np.array_equal(np.asarray(bare.alpha), 255 - np.asarray(drawing))
    on_white, plain = (
        colorizer.draw(png(ink_alone(drawing)), ColorizeOptions(opaque=True)),
        colorizer.draw(png(drawing)),
    )
    assert on_white.alpha is None
    assert not on_white.hides_its_colours
    assert not plain.hides_its_colours
    for one, other in ((on_white.picture(), plain.picture()), (bare.colour, plain.colour)):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_white_on_black_is_coloured_as_black_on_white(colorizer: Colorizer) -> None:
    sketch = draw(120, 90).convert("L")
    inverted = colorizer(png(ImageOps.invert(sketch)))
    assert np.array_equal(np.asarray(inverted), np.asarray(colorizer(png(sketch))))


def test_a_seed_determines_the_colouring(colorizer: Colorizer) -> None:
    sketch = png(draw(200, 150))
    plain = np.asarray(colorizer(sketch))
    first, again, second = (
        np.asarray(colorizer(sketch, ColorizeOptions(seed=seed))) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, plain)
    assert np.array_equal(np.asarray(colorizer(sketch)), plain)


def test_a_seed_means_the_same_in_any_batch(colorizer: Colorizer) -> None:
    single = colorizer.session.draw_noise([7])
    among = colorizer.session.draw_noise([3, 7, 9])
    for one, three in zip(single, among, strict=True):
        assert np.array_equal(one[0], three[1])
        assert set(np.unique(three)) == {0.0, 2.0}


def test_a_seed_for_a_model_without_noise_is_reported(
    colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(colorizer.model.config, "noise")
    with pytest.raises(ModelFolderError, match="has no variations"):
        colorizer(png(draw()), ColorizeOptions(seed=1))


def test_a_palette_and_a_reference_change_the_colours_alone(colorizer: Colorizer) -> None:
    sketch = png(draw(200, 150))
    plain = colorizer.draw(sketch)
    reference = Image.new("RGB", (20, 20), (200, 60, 60))
    for options in (ColorizeOptions(palette="#20a040"), ColorizeOptions(reference=reference)):
        artwork = colorizer.draw(sketch, options)
        assert np.array_equal(np.asarray(artwork.lines), np.asarray(plain.lines))
        assert not np.array_equal(np.asarray(artwork.colour), np.asarray(plain.colour))


def test_line_strength_0_gives_the_colours_without_lines(colorizer: Colorizer) -> None:
    artwork = colorizer.draw(png(draw(200, 150)), ColorizeOptions(line_strength=0))
    assert np.array_equal(np.asarray(artwork.picture()), np.asarray(artwork.colour))


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"line_strength": -0.1}, {"line_strength": 2.1}, {"line_strength": np.nan}],
)
def test_an_option_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ColorizeOptions(**options)  # type: ignore[arg-type]


def test_a_too_large_sketch_is_refused_from_its_header(colorizer: Colorizer) -> None:
    with pytest.raises(PictureError, match="too large: 8192×8193 px"):
        colorizer(png(Image.new("1", (8192, 8193))))


def test_an_unknown_device_is_refused(colorizer: Colorizer) -> None:
    with pytest.raises(ValueError, match="must be one of cpu, cuda"):
        Colorizer.load(colorizer.model.folder, device="tpu")
    with pytest.raises(ModelFolderError, match="doesn't support cuda"):
        Colorizer.load(colorizer.model.folder, device="cuda")


def vertical_strip(width: int, num_panels: int) -> Image.Image:
    """Drawings below one another, a tenth of their width apart."""
    strip = Image.new("RGB", (width, num_panels * width * 11 // 10), "white")
    for number in range(num_panels):
        strip.paste(draw(width, width), (0, number * width * 11 // 10))
    return strip


@pytest.mark.parametrize("turned", [False, True])
def test_a_strips_end_has_the_colours_that_it_has_alone(colorizer: Colorizer, turned: bool) -> None:
    strip = vertical_strip(120, 5)
    if turned:
        strip = strip.transpose(Image.Transpose.TRANSPOSE)
    alone = colorizer.draw(strip.crop((0, 0, 120, 120))).colour
    whole = colorizer.draw(strip).colour
    assert whole.size == strip.size
    # its first half is no other window's
    box = (0, 0, 50, 120) if turned else (0, 0, 120, 50)
    one, other = (np.asarray(each.crop(box)).astype(int) for each in (alone, whole))
    assert one.std(axis=(0, 1)).max() > 5
    assert np.abs(one - other).mean() < 2


@pytest.mark.slow
def test_a_webtoon_takes_little_memory(model_folder: Path) -> None:
    code = f"""
import resource
from PIL import Image
from colorizer import Colorizer
colorizer = Colorizer.load({str(model_folder)!r}, threads=1)
colorizer(Image.new("RGB", (60, 60), "white"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = colorizer(Image.effect_noise((800, 20_000), 9))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(picture.size, (after - before) * 1024 / (800 * 20_000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, bytes_per_pixel = done.stdout.rsplit(maxsplit=1)
    assert size == "(800, 20000)"
    assert float(bytes_per_pixel) < 40
