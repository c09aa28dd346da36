"""The ceiling of hints: what a region holds is filled in, and nothing else."""

import torch

from benchmarks.hint_ceiling import fill_hinted, hinted, mean_colour
from pipeline_steps.hints.by_region import place_dots
from tests.pipeline_steps.hints.drawn import boxes


def test_hinted_regions_are_filled_and_others_stay() -> None:
    truth, sketch = boxes(3)
    truth = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    plain = torch.zeros_like(truth)
    dots = place_dots(truth, sketch, [1, 2, 3], 3)
    filled = fill_hinted(plain, truth, dots, 1, torch.clone)
    means = fill_hinted(plain, truth, dots, 1, mean_colour)
    for number, each in enumerate(dots):
        inside = torch.from_numpy(hinted(each, 1))
        assert inside[each.rows[0], each.columns[0]]
        assert not inside[each.rows[1], each.columns[1]]
        assert torch.equal(filled[number][:, inside], truth[number][:, inside])
        assert not filled[number][:, ~inside].any()
        assert torch.allclose(
            means[number][:, inside], truth[number][:, inside].mean(dim=1, keepdim=True)
        )
