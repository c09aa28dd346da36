"""Scatter and leak on drawn cases: two rooms side by side with a wall of ink between them."""

import pytest
import torch
from torch.nn import functional

from pipeline_steps.scores.regions import find_regions, measure_truth, scatter_and_leak

SIZE = 96
RED, BLUE = torch.tensor([0.8, -0.6, -0.6]), torch.tensor([-0.6, -0.4, 0.9])


def draw_sketch() -> torch.Tensor:
    """A frame and a wall in its middle, 1×1×S×S."""
    sketch = torch.ones(1, 1, SIZE, SIZE)
    sketch[..., 8:10, 8:88] = sketch[..., 86:88, 8:88] = -1
    for column in (8, 47, 86):
        sketch[..., 8:88, column : column + 2] = -1
    return sketch


def paint(left: torch.Tensor = RED, right: torch.Tensor = BLUE) -> torch.Tensor:
    """The rooms in two colours, ink black, white around, 1×3×S×S."""
    picture = torch.ones(1, 3, SIZE, SIZE)
    picture[..., 10:86, 10:47] = left.view(1, 3, 1, 1)
    picture[..., 10:86, 49:86] = right.view(1, 3, 1, 1)
    return torch.where(draw_sketch() < 0, -1.0, picture)


def measure(generated: torch.Tensor) -> tuple[float, float]:
    scatter, leak = scatter_and_leak(generated, measure_truth(paint(), draw_sketch()))
    return scatter.item(), leak.item()


def test_regions_are_what_ink_encloses_without_its_edge() -> None:
    (regions,) = find_regions(draw_sketch())
    assert regions.number == 3
    labels = regions.labels
    assert labels[50, 30] not in (0, labels[50, 60], labels[2, 2])
    assert labels[50, 47] == 0
    assert labels[50, 46] == 0  # beside the wall


def test_small_regions_do_not_count() -> None:
    sketch = torch.full((1, 1, SIZE, SIZE), -1.0)
    sketch[..., 10:14, 10:14] = 1.0
    (regions,) = find_regions(sketch)
    assert regions.number == 0
    assert measure_of_nothing(sketch) == (0.0, 0.0)


def measure_of_nothing(sketch: torch.Tensor) -> tuple[float, float]:
    picture = torch.rand(1, 3, SIZE, SIZE)
    scatter, leak = scatter_and_leak(picture, measure_truth(paint(), sketch))
    return scatter.item(), leak.item()


@pytest.mark.parametrize(
    "flat",
    [
        paint(),
        draw_sketch().expand(-1, 3, -1, -1),
        paint().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1),
        paint(BLUE, RED),
    ],
    ids=["truth", "copy of the sketch", "grey", "wrong hues"],
)
def test_flat_pictures_neither_scatter_nor_leak(flat: torch.Tensor) -> None:
    assert measure(flat) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_a_rainbow_in_one_room_scatters() -> None:
    picture = paint()
    ramp = torch.linspace(-1, 1, 37)
    picture[..., 10:86, 10:47] = torch.stack([ramp, -ramp, ramp.flip(0) / 2]).view(1, 3, 1, 37)
    scatter, leak = measure(picture)
    assert scatter > 10
    assert leak < scatter / 4


def test_a_checkerboard_scatters() -> None:
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    picture = paint() + 0.1 * ((x + y) % 2 * 2 - 1)
    assert measure(picture)[0] > 1.5


def test_variation_that_the_truth_has_does_not_count() -> None:
    truth = paint()
    truth[..., 10:86, 10:47] += torch.linspace(-0.2, 0.2, 37)
    scatter, _ = scatter_and_leak(truth, measure_truth(truth, draw_sketch()))
    assert scatter.item() == 0.0


def test_colour_that_runs_over_the_wall_leaks() -> None:
    picture = paint()
    picture[..., 10:86, 49:56] = RED.view(1, 3, 1, 1)
    scatter, leak = measure(picture)
    assert leak > 10
    assert scatter > 5
    assert measure(functional.avg_pool2d(paint(), 9, 1, 4))[1] > 2  # so does a blur


def test_scores_are_per_picture() -> None:
    sketches = draw_sketch().repeat(2, 1, 1, 1)
    leaking = paint()
    leaking[..., 10:86, 49:56] = RED.view(1, 3, 1, 1)
    both = torch.cat([paint(), leaking])
    _, leak = scatter_and_leak(both, measure_truth(paint().repeat(2, 1, 1, 1), sketches))
    assert leak[0] == 0.0
    assert leak[1] > 10
