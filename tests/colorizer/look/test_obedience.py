"""What a colour lacks at a hint is added there and in its region, and nowhere else."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.hints.hint import Hint
from colorizer.hints.layer import make_layer
from colorizer.hints.model_input import fit_layer
from colorizer.look.obedience import obey, obey_finely
from colorizer.pictures.squares import Placement

PEACH = (232, 176, 144)
GREY = 120
NO_HINTS = np.zeros((4, 64, 64), np.float32)


def two_boxes(width: int, height: int) -> Image.Image:
    """Two closed boxes side by side (mode L)."""
    picture = Image.new("L", (width, height), "white")
    pen, thick = ImageDraw.Draw(picture), max(1, width // 60)
    for left in (0.05, 0.55):
        box = (left * width, 0.1 * height, (left + 0.4) * width, 0.9 * height)
        pen.rectangle(box, outline="black", width=thick)
    return picture


def obeyed(hint: Hint, size: int = 64) -> np.ndarray:
    lines = two_boxes(size, size)
    layer = make_layer([hint], lines.size)
    hints = fit_layer(layer, Placement(0, 0, size, size), size)
    return obey(np.full((size, size, 3), GREY, np.uint8), np.asarray(lines), hints, size // 2)


def test_the_hint_and_its_region_take_the_colour_and_others_keep_theirs() -> None:
    changed = obeyed(Hint(10, 32, "#e8b090", 2))
    assert changed[32, 10].tolist() == list(PEACH)
    assert np.abs(changed[12:52, 6:26].astype(int) - PEACH).max() <= 2
    assert (changed[10:54, 38:58] == GREY).all(), "the other box"
    assert (changed[:, 62:] == GREY).all(), "the paper around"


def test_shades_of_a_region_stay() -> None:
    lines = two_boxes(64, 64)
    colour = np.full((64, 64, 3), GREY, np.uint8)
    colour[12:32] -= 40  # a shadow in the upper half
    hints = fit_layer(
        make_layer([Hint(12, 45, "#e8b090", 2)], (64, 64)), Placement(0, 0, 64, 64), 64
    )
    changed = obey(colour, np.asarray(lines), hints, 32).astype(int)
    assert np.abs(changed[48, 10] - PEACH).max() <= 2
    assert np.abs(changed[48, 10] - changed[16, 10] - 40).max() <= 2


def test_without_hints_nothing_changes() -> None:
    colour = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
    assert obey(colour, np.full((64, 64), 255, np.uint8), NO_HINTS, 9) is colour


@pytest.mark.parametrize("size", [(4000, 3000), (200, 150), (700, 90)])
def test_a_small_dot_is_obeyed_at_every_size(size: tuple[int, int]) -> None:
    lines = two_boxes(*size)
    at = round(size[0] * 0.2), size[1] // 2
    layer = make_layer([Hint(*at, "#e8b090", 1.5)], size)
    changed = obey_finely(Image.new("RGB", size, (GREY, GREY, GREY)), lines, layer)
    assert changed.size == size
    assert np.abs(np.array(changed.getpixel(at)) - PEACH).max() <= 6
    far = changed.getpixel((round(size[0] * 0.8), size[1] // 2))
    assert far == (GREY, GREY, GREY)
