"""A mark has the colour that lies under it, and stays off ink and other colours."""

import torch

from pipeline_steps.hints.marks import (
    Marks,
    colours_under,
    cover,
    find_paper,
    find_places,
    paint,
)
from tests.pipeline_steps.hints.drawn import LEFT, RIGHT, SIZE, boxes


def marks(*places: tuple[int, int], radius: float = 3, length: float = 0.0) -> Marks:
    rows, columns = (torch.tensor(values) for values in zip(*places, strict=True))
    zeros = torch.zeros(len(places))
    return Marks(zeros.long(), rows, columns, zeros + radius, zeros + length, zeros)


def painted(its: Marks, colours: torch.Tensor | None = None, num_pictures: int = 1) -> torch.Tensor:
    """The marks on pictures of two boxes, as hints; in the colours under them, or in others."""
    truth, sketch = boxes(num_pictures)
    covered = cover(truth, find_paper(sketch), its, reach=33)
    given = colours_under(covered) if colours is None else colours
    return paint(covered, given, num_pictures, SIZE)


def test_hints_lie_where_the_picture_is_flat_and_off_the_ink() -> None:
    truth, sketch = boxes()
    places = find_places(truth, sketch)[0]
    assert places[30, 16]
    assert places[2, 2]
    assert not places[30, 4:6].any(), "on ink"
    assert not places[30, 6], "beside ink"
    truth[:, :, 20:40, 10:20] += torch.randn(1, 3, 20, 10).clamp(-1, 1) * 0.4
    assert not find_places(truth, sketch)[0, 25:35, 13:17].any(), "not flat"


def test_a_dot_and_a_stroke_have_their_form() -> None:
    dot = painted(marks((30, 16)))[0, 3]
    assert 25 <= dot.sum() <= 30  # π·3² is 28
    stroke = painted(marks((30, 16), radius=1, length=8))[0, 3]
    assert stroke[30, 12:21].all()
    assert not stroke[32].any()


def test_a_mark_keeps_to_its_region_and_the_picture() -> None:
    stroke = painted(marks((30, 16), length=60))[0, 3]
    columns = torch.nonzero(stroke)[:, 1]
    assert columns.min() >= 6
    assert columns.max() < 28
    corner = painted(marks((0, 63)))[0, 3]
    assert corner[0, 63]
    assert corner.sum() <= 12


def test_a_mark_on_ink_is_none() -> None:
    assert not painted(marks((30, 5))).any()


def test_hints_have_the_colours_under_them() -> None:
    hints = painted(marks((30, 16), (30, 46)))
    assert hints.shape == (1, 4, SIZE, SIZE)
    for column, colour in ((16, LEFT), (46, RIGHT)):
        assert torch.allclose(hints[0, :3, 30, column], torch.tensor(colour), atol=1e-5)
        assert hints[0, 3, 30, column] == 1
    assert not hints[0, :, hints[0, 3] == 0].any()


def test_a_later_mark_covers_an_earlier_one() -> None:
    hints = painted(marks((30, 16), (30, 17)), torch.tensor([[1.0, 1, 1], [-1, -1, -1]]))
    assert (hints[0, :3, 30, 16] == -1).all()
    assert (hints[0, :3, 30, 13] == 1).all()


def test_pictures_keep_their_own_marks() -> None:
    mixed = marks((30, 16), (30, 46), (30, 20))._replace(picture=torch.tensor([0, 0, 2]))
    hints = painted(mixed, num_pictures=3)
    assert [int(each) for each in hints[:, 3, 30, 14]] == [1, 0, 0]
    assert [int(each) for each in hints[:, 3, 30, 22]] == [0, 0, 1]


def test_there_may_be_no_marks() -> None:
    assert not painted(Marks(*(torch.zeros(0, dtype=torch.int64) for _ in range(6)))).any()
