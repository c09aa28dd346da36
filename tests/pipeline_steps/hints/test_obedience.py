"""Obedience tells generators that follow hints from those that don't."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline_steps.hints.obedience import choose_pairs, measure_obedience
from pipeline_steps.scores.regions import find_regions
from tests.pipeline_steps.hints.drawn import boxes


def obedient(sketch: Tensor, hints: Tensor) -> Tensor:
    """Fills the region of a hint with its colour, and leaves others grey."""
    pictures = torch.zeros(len(sketch), 3, *sketch.shape[2:])
    for picture, regions, given in zip(pictures, find_regions(sketch), hints, strict=True):
        for region in range(1, regions.number + 1):
            inside = torch.from_numpy(regions.labels == region)
            under = given[:, inside & (given[3] > 0)]
            if under.shape[1]:
                picture[:, inside] = under[:3, :1]
    return pictures


def deaf(sketch: Tensor, hints: Tensor) -> Tensor:
    """Looks at no hint."""
    return torch.zeros(len(sketch), 3, *sketch.shape[2:])


def spilling(sketch: Tensor, hints: Tensor) -> Tensor:
    """Gives the whole picture the colour of a hint."""
    mask = hints[:, 3:].sum(dim=(2, 3)).clamp_min(1)
    colour = hints[:, :3].sum(dim=(2, 3)) / mask
    return colour[:, :, None, None].expand(-1, -1, *sketch.shape[2:])


def test_obedient_deaf_and_spilling_generators_are_told_apart() -> None:
    truth, sketch = boxes(6)
    obeys = measure_obedience(obedient, truth, sketch, seed=1).medians()
    assert obeys["at_hint"] < 0.1
    assert obeys["in_region"] < 0.1
    assert obeys["elsewhere"] == 0
    assert obeys["across_ink"] == 0
    ignores = measure_obedience(deaf, truth, sketch, seed=1).medians()
    assert ignores["at_hint"] > 20
    assert ignores["in_region"] > 20
    spills = measure_obedience(spilling, truth, sketch, seed=1).medians()
    assert spills["in_region"] < 0.1
    assert spills["elsewhere"] > 20
    assert spills["across_ink"] > 20


def test_what_crosses_a_line_is_told_from_what_changes_far_away() -> None:
    truth, sketch = boxes(6)

    def changing_far_away(sketch: Tensor, hints: Tensor) -> Tensor:
        """Fills the hint's region, and the picture's other half."""
        pictures = obedient(sketch, hints)
        for picture, given in zip(pictures, hints, strict=True):
            if given[3].any():
                columns = given[3].any(dim=0).nonzero().flatten()
                half = slice(48, 64) if columns.float().mean() < 32 else slice(0, 16)
                picture[:, :, half] = 1.0
        return pictures

    measured = measure_obedience(changing_far_away, truth, sketch, seed=1)
    assert np.nanmean(measured.across_ink) < np.nanmean(measured.elsewhere) / 2


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_size_doesnt_matter(batch_size: int) -> None:
    truth, sketch = boxes(5)
    measured = measure_obedience(obedient, truth, sketch, seed=1, batch_size=batch_size)
    assert np.allclose(measured.in_region, measure_obedience(obedient, truth, sketch, seed=1)[1])


@pytest.mark.parametrize(("count", "measured"), [(1, 1), (114, 114), (3545, 256)])
def test_of_a_large_test_set_some_pairs_are_measured(count: int, measured: int) -> None:
    chosen = choose_pairs(count).tolist()
    assert len(set(chosen)) == measured
    assert min(chosen) == 0
    assert max(chosen) == count - 1


def test_pictures_without_a_place_for_a_hint_dont_count() -> None:
    truth, sketch = torch.rand(2, 3, 64, 64) * 2 - 1, torch.ones(2, 1, 64, 64)
    measured = measure_obedience(deaf, truth, sketch, seed=1)
    assert np.isnan(measured.at_hint).all()
    assert measured.medians() == {}
