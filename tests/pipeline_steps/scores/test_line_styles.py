import pytest
import torch

from pipeline_steps.scores.line_styles import STYLES, draw_styles


def draw_sketch(size: int = 64) -> torch.Tensor:
    """Two sketches with a horizontal and a vertical line of 2 px."""
    sketch = torch.ones(2, 1, size, size)
    sketch[:, :, 20:22, 5:60] = -1
    sketch[:, :, 5:60, 40:42] = -1
    return sketch


def ink(sketch: torch.Tensor) -> float:
    return float((1 - sketch).sum() / 2)


def test_each_style_changes_the_sketch_and_keeps_its_range() -> None:
    sketch = draw_sketch()
    drawn = draw_styles(sketch, seed=1)
    assert list(drawn) == list(STYLES)
    for name, redrawn in drawn.items():
        assert redrawn.shape == sketch.shape
        assert redrawn.min() >= -1
        assert redrawn.max() <= 1
        assert not torch.equal(redrawn, sketch), name


def test_styles_do_what_they_say() -> None:
    sketch = draw_sketch()
    drawn = draw_styles(sketch, seed=1)
    assert ink(drawn["thicker"]) > 1.3 * ink(sketch)
    assert 0.5 * ink(sketch) < ink(drawn["thinner"]) < 0.9 * ink(sketch)
    assert drawn["pencil"].min() == pytest.approx(1 - 2 * 0.45)
    assert drawn["blue"].min() == pytest.approx(1 - 2 * 0.57)
    assert 0.5 * ink(sketch) < ink(drawn["gaps"]) < 0.98 * ink(sketch)
    assert torch.equal(drawn["half_blurred"][..., :32], sketch[..., :32])
    assert drawn["half_blurred"][..., 32:].min() > -0.9
    assert 0.05 < drawn["noisy"][:, :, 25:, 45:].std() < 0.1  # half of it is clipped


def test_white_paper_stays_white_but_for_noise() -> None:
    white = torch.ones(1, 1, 32, 32)
    drawn = draw_styles(white, seed=1)
    assert all(torch.equal(each, white) for name, each in drawn.items() if name != "noisy")


def test_equal_seeds_draw_the_same() -> None:
    first, again, other = (draw_styles(draw_sketch(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first["gaps"], again["gaps"])
    assert not torch.equal(first["gaps"], other["gaps"])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="need N×1×S×S"):
        draw_styles(torch.ones(1, 3, 32, 32), seed=1)
