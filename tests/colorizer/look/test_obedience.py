"""What a colour lacks at a hint is added there, and less and less around it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.hints.hint import Hint
from colorizer.hints.layer import make_layer
from colorizer.hints.model_input import fit_layer
from colorizer.look.obedience import UInt8Array, correct, obey
from colorizer.pictures.squares import Placement

PEACH = (232, 176, 144)
GREY = 120
SIDE = 64
NO_HINTS = np.zeros((4, SIDE, SIDE), np.float32)


def two_boxes(width: int, height: int) -> Image.Image:
    """Two closed boxes side by side (mode L)."""
    picture = Image.new("L", (width, height), "white")
    pen, thick = ImageDraw.Draw(picture), max(1, width // 60)
    for left in (0.05, 0.55):
        box = (left * width, 0.1 * height, (left + 0.4) * width, 0.9 * height)
        pen.rectangle(box, outline="black", width=thick)
    return picture


def corrected(hint: Hint, colour: UInt8Array) -> UInt8Array:
    lines = two_boxes(SIDE, SIDE)
    layer = make_layer([hint], lines.size).picture
    hints = fit_layer(layer, Placement(0, 0, SIDE, SIDE), SIDE)
    return correct(colour, np.asarray(lines), hints)


def flat() -> UInt8Array:
    return np.full((SIDE, SIDE, 3), GREY, np.uint8)


def test_the_hint_has_its_colour_which_fades_around_it_up_to_the_line() -> None:
    changed = corrected(Hint(10, 32, "#e8b090", 2), flat()).astype(int)
    assert changed[32, 10].tolist() == list(PEACH)
    reds = changed[32, 12:26, 0].tolist()
    assert reds == sorted(reds, reverse=True)
    assert PEACH[0] > reds[-1] > GREY
    assert (changed[10:54, 38:58] == GREY).all(), "the other box"
    assert (changed[:, 62:] == GREY).all(), "the paper around"


def test_shades_of_a_region_stay() -> None:
    colour = flat()
    colour[12:32] -= 40  # a shadow in the upper half
    changed = corrected(Hint(12, 33, "#e8b090", 1), colour).astype(int)
    assert np.abs(changed[35, 12] - changed[30, 12] - 40).max() <= 3


def test_without_hints_nothing_changes() -> None:
    colour = np.arange(SIDE * SIDE * 3, dtype=np.uint32).astype(np.uint8).reshape(SIDE, SIDE, 3)
    assert correct(colour, np.full((SIDE, SIDE), 255, np.uint8), NO_HINTS) is colour


@pytest.mark.parametrize("size", [(4000, 3000), (200, 150), (700, 90)])
def test_a_small_dot_is_obeyed_at_every_size(size: tuple[int, int]) -> None:
    lines = two_boxes(*size)
    at = round(size[0] * 0.2), size[1] // 2
    layer = make_layer([Hint(*at, "#e8b090", 1.5)], size).picture
    changed = obey(Image.new("RGB", size, (GREY, GREY, GREY)), lines, layer)
    assert changed.size == size
    assert np.abs(np.array(changed.getpixel(at)) - PEACH).max() <= 6
    far = changed.getpixel((round(size[0] * 0.8), size[1] // 2))
    assert far == (GREY, GREY, GREY)
