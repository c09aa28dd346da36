"""Photos, scans and white on black become line art."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from colorizer.pictures.decoding import Decoded, open_with_alpha
from colorizer.pictures.sketch import clean_lines, is_inverted, to_sketch
from tests.colorizer.drawing import draw, ink_alone, png


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


def test_only_grey_pictures_are_accepted() -> None:
    with pytest.raises(ValueError, match="mode L"):
        clean_lines(draw())


def test_inversion_is_detected_from_visible_pixels_only() -> None:
    drawing = draw(200, 150)
    assert not is_inverted(drawing)
    assert is_inverted(ImageOps.invert(drawing))


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
