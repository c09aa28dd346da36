"""The dots of evaluation lie in one region after the other."""

import numpy as np
import pytest
import torch

from pipeline_steps.hints.by_region import paint_dots, place_dots
from tests.pipeline_steps.hints.drawn import LEFT, RIGHT, boxes


def test_every_region_has_a_dot_before_any_has_a_second() -> None:
    truth, sketch = boxes(8)
    for dots in place_dots(truth, sketch, range(8), 7):
        assert len(dots.rows) == 7
        assert len(set(dots.regions[:3].tolist())) == 3  # two boxes and the paper around them
        assert len(set(dots.regions[3:6].tolist())) == 3
        assert (dots.labels[dots.rows, dots.columns] == dots.regions).all()


def test_dots_depend_on_the_seed_and_not_on_their_number() -> None:
    truth, sketch = boxes()
    (few,), (many,), (others,) = (
        place_dots(truth, sketch, [seed], count) for seed, count in ((1, 3), (1, 20), (2, 20))
    )
    assert np.array_equal(few.rows, many.rows[:3])
    assert not np.array_equal(many.rows, others.rows)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_so_many_dots_are_painted_in_the_true_colours(count: int) -> None:
    truth, sketch = boxes(2)
    dots = place_dots(truth, sketch, [1, 2], 20)
    hints = paint_dots(truth, sketch, dots, count)
    assert hints.shape == (2, 4, 64, 64)
    for picture, its in zip(hints, dots, strict=True):
        painted = picture[3, its.rows, its.columns]
        assert (painted[:count] == 1).all()
        assert count or not picture.any()
    seen = {
        tuple(round(value, 3) for value in colour)
        for picture in hints
        for colour in picture[:3, picture[3] > 0].T.tolist()
    }
    assert seen <= {LEFT, RIGHT, (1.0, 1.0, 1.0)}


def test_given_colours_replace_the_true_ones() -> None:
    truth, sketch = boxes()
    dots = place_dots(truth, sketch, [1], 1)
    hints = paint_dots(truth, sketch, dots, 1, torch.tensor([[0.1, 0.2, 0.3]]))
    colours = hints[0, :3, hints[0, 3] > 0].T
    assert torch.allclose(colours, torch.tensor([0.1, 0.2, 0.3]).expand_as(colours))


def test_a_blank_picture_without_a_flat_place_has_no_dots() -> None:
    truth = torch.rand(1, 3, 64, 64) * 2 - 1
    (dots,) = place_dots(truth, torch.ones(1, 1, 64, 64), [1], 5)
    assert len(dots.rows) == 0
    assert not paint_dots(truth, torch.ones(1, 1, 64, 64), [dots], 5).any()
