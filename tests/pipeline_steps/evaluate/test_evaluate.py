from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline_steps.base.paths import BEST_GRID, RANDOM_GRID, WORST_GRID
from pipeline_steps.evaluate.stage import (
    choose_pairs,
    per_picture_table,
    score_pairs,
    summarize,
)
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.params import Params
from pipeline_steps.scores.table import beats, format_evaluation


@pytest.fixture
def scores(make_pairs: Callable[..., PackedPairs]) -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4)).eval()
    mean = torch.zeros(3, 32, 32)
    return score_pairs(generator, make_pairs("test", 7), mean, batch_size=3)


def evaluation_of(generator: dict[str, float], other: dict[str, float]) -> dict[str, Any]:
    return {
        "generator": generator,
        "copy_sketch": other,
        "white": other,
        "train_mean": other,
        "test_pairs": 3,
    }


def test_every_picture_is_scored_for_the_generator_and_the_baselines(
    scores: dict[str, dict[str, torch.Tensor]],
) -> None:
    assert set(scores) == {"generator", "copy_sketch", "white", "train_mean"}
    assert all(len(values) == 7 for by_metric in scores.values() for values in by_metric.values())


def test_the_baselines_are_the_sketch_white_and_the_mean(
    make_pairs: Callable[..., PackedPairs], scores: dict[str, dict[str, torch.Tensor]]
) -> None:
    pixels = torch.tensor(make_pairs("test", 7).pixels[:]).float() / 127.5 - 1
    colour, sketch = pixels[..., :3], pixels[..., 3:]
    expected = {
        "copy_sketch": (colour - sketch).abs(),
        "white": (colour - 1).abs(),
        "train_mean": colour.abs(),
    }
    for name, difference in expected.items():
        assert torch.allclose(scores[name]["l1"], difference.mean(dim=(1, 2, 3)), atol=1e-5)


def test_the_batch_size_does_not_change_the_scores(make_pairs: Callable[..., PackedPairs]) -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(image_size=32, width=4)).eval()
    pairs, mean = make_pairs("test", 5), torch.zeros(3, 32, 32)
    one, many = (score_pairs(generator, pairs, mean, batch_size=size) for size in (1, 5))
    assert torch.allclose(one["generator"]["ssim"], many["generator"]["ssim"], atol=1e-5)


def test_the_evaluation_is_the_mean_over_pictures(
    scores: dict[str, dict[str, torch.Tensor]],
) -> None:
    evaluation = summarize(scores)
    assert evaluation["test_pairs"] == 7
    assert evaluation["white"]["l1"] == pytest.approx(scores["white"]["l1"].mean().item(), abs=1e-5)


def test_grids_show_the_best_the_worst_and_a_fixed_random_choice(
    scores: dict[str, dict[str, torch.Tensor]], params: Params
) -> None:
    table = per_picture_table([f"id{k}" for k in range(7)], scores)
    chosen = choose_pairs(table, params)
    l1 = scores["generator"]["l1"]
    assert l1[chosen[BEST_GRID][0]] == l1.min()
    assert l1[chosen[WORST_GRID][0]] == l1.max()
    assert chosen[RANDOM_GRID].tolist() == choose_pairs(table, params)[RANDOM_GRID].tolist()
    assert list(table["id"]) == [f"id{k}" for k in range(7)]


def test_a_baseline_that_ties_on_one_metric_is_not_beaten() -> None:
    better = {"l1": 0.1, "psnr": 20.0, "ssim": 0.9, "chroma": 3.0}
    worse = {"l1": 0.2, "psnr": 10.0, "ssim": 0.8, "chroma": 4.0}
    assert beats(evaluation_of(better, worse), "white")
    assert not beats(evaluation_of(better, worse | {"ssim": 0.9}), "white")
    assert not beats(evaluation_of(worse, better), "white")
    nothing = "on 3 test pairs; beats no baseline on all four metrics"
    assert format_evaluation(evaluation_of(worse, better)).splitlines()[-1] == nothing
    all_three = "on 3 test pairs; beats copy_sketch, white, train_mean on all four metrics"
    assert format_evaluation(evaluation_of(better, worse)).splitlines()[-1] == all_three
