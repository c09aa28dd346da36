from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import inception_v3

from pipeline_steps.base.paths import BEST_GRID, RANDOM_GRID, WORST_GRID
from pipeline_steps.evaluate.scoring import (
    MethodScores,
    score_fid,
    score_line_styles,
    score_pairs,
)
from pipeline_steps.evaluate.stage import choose_pairs, per_picture_table, summarize
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.params import Params
from pipeline_steps.scores.definitions import METRICS
from pipeline_steps.scores.line_styles import STYLES
from pipeline_steps.scores.table import (
    beats,
    format_evaluation,
    generator_metrics,
    line_style_costs,
)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(GeneratorArchitecture(image_size=32, width=4)).eval()


@pytest.fixture
def all_scores(make_pairs: Callable[..., PackedPairs], generator: Generator) -> MethodScores:
    mean = torch.zeros(3, 32, 32)
    return score_pairs(generator, make_pairs("test", 7), mean, batch_size=3, st_lpips=True)


@pytest.fixture
def scores(all_scores: MethodScores) -> dict[str, dict[str, torch.Tensor]]:
    return all_scores.values


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


def test_the_batch_size_does_not_change_the_scores(
    make_pairs: Callable[..., PackedPairs], generator: Generator
) -> None:
    pairs, mean = make_pairs("test", 5), torch.zeros(3, 32, 32)
    one, many = (
        score_pairs(generator, pairs, mean, batch_size=size, st_lpips=True).values["generator"]
        for size in (1, 5)
    )
    for metric in METRICS:
        assert torch.allclose(one[metric], many[metric], rtol=1e-3, atol=1e-4), metric


def test_the_evaluation_is_the_mean_over_pictures(all_scores: MethodScores) -> None:
    evaluation, l1 = summarize(all_scores), all_scores.values["white"]["l1"]
    assert evaluation["test_pairs"] == 7
    assert evaluation["white"]["l1"] == pytest.approx(l1.mean().item(), abs=1e-5)
    assert set(evaluation["kid"]) == {"generator", "copy_sketch", "white", "train_mean"}
    assert all(each["low"] <= each["high"] for each in evaluation["kid"].values())


def test_without_st_lpips_the_rest_is_measured_and_shown(
    make_pairs: Callable[..., PackedPairs], generator: Generator
) -> None:
    pairs = make_pairs("test", 5)
    evaluation = summarize(score_pairs(generator, pairs, torch.zeros(3, 32, 32), batch_size=5))
    assert evaluation["kid"] is None
    assert set(evaluation["generator"]) == set(METRICS) - {"st_lpips"}
    text = format_evaluation(evaluation)
    assert "scatter" in text
    assert "ST-LPIPS" not in text
    assert "kid" not in generator_metrics(evaluation)


def test_line_styles_cost_a_share_of_l1(
    make_pairs: Callable[..., PackedPairs], generator: Generator, all_scores: MethodScores
) -> None:
    evaluation = summarize(all_scores)
    evaluation["line_styles"] = score_line_styles(
        generator, make_pairs("test", 7), batch_size=3, seed=1
    )
    assert set(evaluation["line_styles"]) == set(STYLES)
    l1 = evaluation["generator"]["l1"]
    expected = evaluation["line_styles"]["thicker"]["l1"] / l1 - 1
    costs = line_style_costs(evaluation)
    assert costs["thicker"] == pytest.approx(expected, abs=1e-4)
    assert generator_metrics(evaluation)["worst_line_style"] == max(costs.values())
    assert "L1 on other line styles: thicker " in format_evaluation(evaluation)


def test_fid_is_measured_with_a_persons_own_weights(
    make_pairs: Callable[..., PackedPairs], generator: Generator, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "inception.pth"
    tensors = inception_v3(weights=None, init_weights=False).state_dict()
    larger = {name: 2 * tensor for name, tensor in tensors.items() if name.endswith("conv.weight")}
    torch.save(tensors | larger, weights)
    pairs, mean = make_pairs("test", 3), torch.zeros(3, 32, 32)
    found = score_fid(weights, generator, pairs, mean, batch_size=2)
    assert set(found) == {"generator", "copy_sketch", "white", "train_mean", "weights_sha256"}
    assert found["white"] > 0


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
    nothing = "on 3 test pairs; beats no baseline on L1, PSNR dB, SSIM and chroma"
    assert format_evaluation(evaluation_of(worse, better)).splitlines()[-1] == nothing
    all_three = (
        "on 3 test pairs; beats copy_sketch, white, train_mean on L1, PSNR dB, SSIM and chroma"
    )
    assert format_evaluation(evaluation_of(better, worse)).splitlines()[-1] == all_three
