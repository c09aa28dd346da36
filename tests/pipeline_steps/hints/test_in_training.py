"""The hints of a training are a function of their seeds, and what they say is true."""

import torch

from pipeline_steps.hints.in_training import draw_hints, repaint
from pipeline_steps.hints.marks import find_paper
from tests.pipeline_steps.hints.drawn import LEFT, RIGHT, boxes


def test_each_pictures_hints_depend_on_its_seed_alone() -> None:
    truth, sketch = boxes(12)
    drawn = draw_hints(truth, sketch, range(12))
    parts = [draw_hints(truth[i : i + 1], sketch[i : i + 1], [i]) for i in range(12)]
    others = draw_hints(truth, sketch, range(12, 24))
    for whole, again, part, other in zip(
        drawn, draw_hints(truth, sketch, range(12)), zip(*parts, strict=True), others, strict=True
    ):
        assert torch.equal(whole, again)
        assert torch.equal(whole, torch.cat(part))
        assert not torch.equal(whole, other)


def test_nearly_every_picture_has_hints_and_a_repainted_region() -> None:
    truth, sketch = boxes(100)
    repainted, hints = draw_hints(truth, sketch, range(100))
    has_hints = hints[:, 3].amax(dim=(1, 2)) > 0
    is_repainted = (repainted != truth).flatten(1).any(dim=1)
    assert 0.75 < has_hints.float().mean() < 1, "all marks of some lie on ink"
    assert torch.equal(is_repainted, has_hints)


def test_hints_lie_on_paper_and_are_nearly_the_colours_of_the_repainted_picture() -> None:
    truth, sketch = boxes(50)
    repainted, hints = draw_hints(truth, sketch, range(50))
    mask = hints[:, 3] > 0
    assert mask.any()
    assert not (mask & ~find_paper(sketch)).any()
    difference = (hints[:, :3] - repainted).abs().amax(dim=1)[mask]
    assert difference.max() < 0.15
    assert set(hints[:, 3].unique().tolist()) == {0.0, 1.0}


def test_one_region_is_repainted_up_to_its_lines() -> None:
    truth, sketch = boxes()
    truth[:, :, 30:54, 6:28] -= 0.1  # a shadow
    colour = torch.tensor([0.2, 0.4, 0.0])
    done = repaint(truth[0], sketch[0], (20, 12), colour)
    assert torch.allclose(done[:, 10, 6], colour)
    assert torch.allclose(done[:, 50, 27], colour - 0.1, atol=1e-6)
    assert torch.allclose(done[:, 30, 46], torch.tensor(RIGHT))
    assert (done[:, 2, 2] == 1).all()
    assert (done[:, 30, 4] == -1).all(), "ink"
    assert not torch.allclose(done[:, 20, 12], torch.tensor(LEFT))
