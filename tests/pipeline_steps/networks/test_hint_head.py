"""Hints change a picture in their regions, and nowhere else."""

import pytest
import torch
from torch import Tensor

from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.networks.hint_head import HintHead, spread

RED, BLUE = (0.8, -0.6, -0.5), (-0.7, -0.2, 0.9)


def halves(size: int = 128) -> Tensor:
    """A sketch with a line from top to bottom, 2 px wide."""
    sketch = torch.ones(1, 1, size, size)
    sketch[..., size // 2 : size // 2 + 2] = -1
    return sketch


def dots(*given: tuple[int, int, tuple[float, ...]], size: int = 128, mask: float = 1.0) -> Tensor:
    hints = torch.zeros(1, 4, size, size)
    for row, column, colour in given:
        hints[0, :3, row, column] = mask * torch.tensor(colour)
        hints[0, 3, row, column] = mask
    return hints


def build_head() -> HintHead:
    torch.manual_seed(1)
    return HintHead().eval()


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_a_colour_reaches_all_of_its_side_of_a_line_and_none_of_the_other(size: int) -> None:
    colour, nearness = spread(dots((2, 2, RED), size=size), halves(size))
    here = colour[..., : size // 2 - max(2, size // 64)]
    assert torch.allclose(here, torch.tensor(RED)[:, None, None].expand_as(here), atol=1e-3)
    beyond = size // 2 + 2 + 2 * max(1, size // 64)
    assert not nearness[..., beyond:].any()


def test_a_barrier_holds_colours_back_as_ink_does() -> None:
    hints, paper = dots((64, 30, RED)), torch.ones(1, 1, 128, 128)
    picture = torch.zeros(1, 3, 128, 128)
    open_everywhere = build_head()(picture, paper, hints)
    assert open_everywhere[..., 70:].any()
    hints[0, 3, :, 64] = -1
    closed = build_head()(picture, paper, hints)
    assert not closed[..., 70:].any()
    assert (closed[0, :, 64, 30] - open_everywhere[0, :, 64, 30]).abs().max() < 1e-3


def test_a_colour_comes_around_a_corner() -> None:
    sketch = torch.ones(1, 1, 128, 128)
    sketch[..., :100, 60:64] = -1  # open at the bottom
    colour, _ = spread(dots((10, 10, RED)), sketch)
    assert torch.allclose(colour[0, :, 10, 120], torch.tensor(RED), atol=1e-3)


def test_the_nearest_hint_counts_most() -> None:
    colour, _ = spread(dots((64, 10, RED), (64, 50, BLUE)), halves())
    assert (colour[0, :, 64, 14] - torch.tensor(RED)).abs().max() < 0.1
    assert (colour[0, :, 64, 46] - torch.tensor(BLUE)).abs().max() < 0.1


def test_nearness_falls_with_the_distance() -> None:
    _, nearness = spread(dots((64, 10, RED)), halves())
    steps = [float(nearness[0, 0, 64, column]) for column in (10, 20, 30, 40, 50, 60)]
    assert steps == sorted(steps, reverse=True)
    assert 0 < steps[-1] < steps[0] <= 1


@pytest.mark.parametrize("mask", [1.0, 0.5, 0.001])
def test_a_dot_much_smaller_than_a_pixel_is_followed_like_any(mask: float) -> None:
    picture = torch.zeros(1, 3, 128, 128)
    whole, part = (
        build_head()(picture, halves(), dots((64, 30, RED), mask=share)) for share in (1.0, mask)
    )
    assert (whole - part).abs().max() < 0.05
    assert (part[0, :, 64, 30] - torch.tensor(RED)).abs().max() < 0.3, "before any training"


def test_where_no_hint_arrives_the_picture_stays_bit_for_bit() -> None:
    picture = torch.rand(1, 3, 128, 128) * 2 - 1
    head = build_head()
    assert torch.equal(head(picture, halves(), torch.zeros(1, 4, 128, 128)), picture)
    changed = head(picture, halves(), dots((64, 30, RED)))
    assert torch.equal(changed[..., 70:], picture[..., 70:])
    assert not torch.equal(changed[..., :60], picture[..., :60])
    assert changed.abs().max() <= 1


def test_a_generator_without_hints_has_the_same_weights_and_pictures() -> None:
    generators = []
    for hints in ("none", "points"):
        torch.manual_seed(1)
        generators.append(
            Generator(GeneratorArchitecture(image_size=64, width=4, hints=hints)).eval()
        )
        after = torch.rand(())
    plain, with_head = generators
    torch.manual_seed(1)
    Generator(GeneratorArchitecture(image_size=64, width=4))
    assert torch.equal(after, torch.rand(())), "what is drawn next"
    for name, weights in plain.state_dict().items():
        assert torch.equal(weights, with_head.state_dict()[name])
    sketch, none = halves(64), torch.zeros(1, 4, 64, 64)
    assert torch.equal(plain(sketch), with_head(sketch))
    assert torch.equal(plain(sketch), with_head(sketch, hints=none))
    assert not torch.equal(plain(sketch), with_head(sketch, hints=dots((9, 9, RED), size=64)))


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="hints: must be none or points, got x"):
        GeneratorArchitecture(image_size=32, hints="x")
