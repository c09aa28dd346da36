import pytest
import torch

from pipeline_steps.train.line_styles import redraw


@pytest.fixture
def sketches() -> torch.Tensor:
    """Forty sketches, each with a horizontal and a vertical line of 2 px."""
    sketch = torch.ones(1, 1, 64, 64)
    sketch[:, :, 20:22, 5:60] = -1
    sketch[:, :, 5:60, 40:42] = -1
    return sketch.repeat(40, 1, 1, 1)


def changed(redrawn: torch.Tensor, sketches: torch.Tensor) -> int:
    return sum(not torch.equal(a, b) for a, b in zip(redrawn, sketches, strict=True))


def test_about_a_share_of_the_sketches_is_redrawn(sketches: torch.Tensor) -> None:
    assert changed(redraw(sketches, range(40), 0.0), sketches) == 0
    assert 10 <= changed(redraw(sketches, range(40), 0.5), sketches) <= 25
    assert changed(redraw(sketches, range(40), 1.0), sketches) > 30


def test_redrawn_sketches_are_sketches(sketches: torch.Tensor) -> None:
    redrawn = redraw(sketches, range(40), 1.0)
    assert redrawn.shape == sketches.shape
    assert redrawn.min() >= -1
    assert redrawn.max() <= 1
    ink = (1 - redrawn).sum(dim=(1, 2, 3)) / (1 - sketches).sum(dim=(1, 2, 3))
    assert ink.min() > 0.1  # none is erased
    assert ink.max() > 1.5  # some are much thicker
    lightest = redrawn.amin(dim=(1, 2, 3)).max()
    assert 0.0 < lightest < 0.95  # a light pencil, yet seen


def test_a_style_is_a_function_of_its_sketchs_seed(sketches: torch.Tensor) -> None:
    whole = redraw(sketches, range(40), 1.0)
    halves = [redraw(sketches[:20], range(20), 1.0), redraw(sketches[20:], range(20, 40), 1.0)]
    assert torch.equal(torch.cat(halves), whole)


def test_seeds_must_be_as_many_as_sketches(sketches: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        redraw(sketches, range(39), 1.0)
