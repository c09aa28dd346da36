"""Thin lines and the margin hold colours back, though the model's square doesn't show them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.hints.barriers import BARRIER, add_barriers
from colorizer.hints.hint import Hint
from colorizer.hints.layer import make_layer
from colorizer.hints.model_input import Float32Array, fit_layer
from colorizer.pictures.squares import fit_sketch

SIDE = 64


def fitted(sketch: Image.Image, *hints: Hint) -> tuple[Float32Array, np.ndarray]:
    square, placement = fit_sketch(sketch, SIDE)
    planes = fit_layer(make_layer(hints, sketch.size).picture, placement, SIDE)
    add_barriers(planes, square, sketch, placement)
    return planes, square


def lined(width_px: int, size: tuple[int, int] = (640, 640)) -> Image.Image:
    """A line from edge to edge, in the middle of a white sketch."""
    sketch = Image.new("L", size, 255)
    ImageDraw.Draw(sketch).line((0, size[1] // 2 + 3, size[0], size[1] // 2 + 3), 0, width_px)
    return sketch


def test_a_thin_line_is_a_barrier_from_edge_to_edge() -> None:
    planes, square = fitted(lined(2))
    assert square.min() > 147, "the model doesn't see it as ink"
    closed = planes[3] == BARRIER
    assert closed.any(axis=0).all()
    assert closed.sum() == SIDE
    assert not planes[:3].any()


def test_a_line_that_the_model_sees_has_no_barrier_beside_it() -> None:
    planes, square = fitted(lined(20))
    assert square.min() < 147
    assert (planes[3] == 0).all()


def test_the_margin_of_a_tall_picture_is_closed() -> None:
    planes, _ = fitted(lined(2, size=(320, 640)))
    closed = planes[3] == BARRIER
    assert closed[:, :16].all()
    assert closed[:, 48:].all()
    assert closed[:, 16:48].sum() == 32


def test_a_hint_stays_where_a_barrier_would_be() -> None:
    planes, _ = fitted(lined(2), Hint(320, 323, "#e8b090", 4))
    assert planes[3][32, 32] > 0


@pytest.mark.parametrize("size", [(64, 64), (40, 60), (63, 20)])
def test_a_sketch_that_isnt_reduced_has_no_thin_lines(size: tuple[int, int]) -> None:
    sketch = Image.new("L", size, 255)
    sketch.putpixel((5, 5), 0)
    _, placement = fit_sketch(sketch, SIDE)
    planes, _ = fitted(sketch)
    assert (placement.cut(planes[3].copy()) == 0).all()


def test_the_grain_of_blank_paper_is_no_line() -> None:
    pixels = np.full((640, 640), 255, np.uint8)
    pixels[5::50, 5::50] = 235
    planes, _ = fitted(Image.fromarray(pixels))
    assert (planes[3] == 0).all()


def test_two_cells_alone_are_no_line() -> None:
    sketch = Image.new("L", (640, 640), 255)
    ImageDraw.Draw(sketch).line((302, 323, 316, 323), 0, 2)
    planes, _ = fitted(sketch)
    assert (planes[3] == 0).all()


def test_a_screentone_lets_colours_pass() -> None:
    sketch = Image.new("L", (640, 640), 255)
    sketch.paste(0, (0, 320, 640, 322))
    pixels = np.array(sketch)
    pixels[40:280:8, 40:600:8] = 0
    planes, _ = fitted(Image.fromarray(pixels))
    closed = planes[3] == BARRIER
    assert not closed[8:24, 8:56].any()
    assert closed[32].all()
