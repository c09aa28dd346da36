"""Hints keep their colour at whatever size the model sees them."""

import numpy as np
import pytest

from colorizer.hints.hint import Hint
from colorizer.hints.layer import make_layer
from colorizer.hints.model_input import fit_layer
from colorizer.pictures.squares import place_in_square

PEACH = np.array([232, 176, 144]) / 127.5 - 1


@pytest.mark.parametrize("size", [(4000, 3000), (200, 150), (64, 64), (33, 64), (1, 64)])
@pytest.mark.parametrize("radius", [1.5, 20])
def test_a_dot_keeps_its_colour_and_place(size: tuple[int, int], radius: float) -> None:
    x, y = size[0] * 0.7, size[1] * 0.3
    layer = make_layer([Hint(x, y, "#e8b090", radius)], size).picture
    placement = place_in_square(size, 64)
    hints = fit_layer(layer, placement, 64)
    assert hints.shape == (4, 64, 64)
    assert hints.dtype == np.float32
    mask = hints[3]
    assert (mask >= 0).all()
    assert (mask <= 1).all()
    rows, columns = np.nonzero(mask)
    for plane, value in zip(hints[:3], PEACH, strict=True):
        assert np.abs(plane[rows, columns] / mask[rows, columns] - value).max() < 1e-4
    scale = 64 / max(size)
    centre = placement.top + y * scale, placement.left + x * scale
    reach = radius * scale + 1.5
    assert np.abs(rows + 0.5 - centre[0]).max() <= reach
    assert np.abs(columns + 0.5 - centre[1]).max() <= reach


def test_the_mask_is_the_share_that_is_covered() -> None:
    layer = make_layer([Hint(500, 500, "#e8b090", 100)], (1000, 1000)).picture
    hints = fit_layer(layer, place_in_square((1000, 1000), 64), 64)
    covered = np.pi * 100**2 / 1000**2 * 64**2
    assert hints[3].sum() == pytest.approx(covered, rel=0.03)


def test_no_hint_is_all_zero() -> None:
    hints = fit_layer(make_layer([], (90, 60)).picture, place_in_square((90, 60), 32), 32)
    assert not hints.any()
