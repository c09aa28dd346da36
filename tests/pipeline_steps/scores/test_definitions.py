import dataclasses
import subprocess
import sys
import typing
from pathlib import Path

import torch

from pipeline_steps.params import MarginParams, PromotionParams
from pipeline_steps.scores.definitions import (
    HIGHER_IS_BETTER,
    METRIC_TITLES,
    METRICS,
    measured,
    must_beat_baselines,
)
from pipeline_steps.scores.scorer import Scorer

REPOSITORY = Path(__file__).parents[3]


def score(generated: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """All metrics, on a sketch that is one region."""
    scorer = Scorer(st_lpips=True, device=torch.device("cpu"))
    sketch = torch.ones(len(truth), 1, *truth.shape[2:])
    return scorer.score(generated, scorer.reference(truth, sketch)).values


def test_scores_and_params_use_the_defined_metrics() -> None:
    pictures = torch.zeros(1, 3, 32, 32)
    assert list(score(pictures, pictures)) == list(METRICS)
    allowed = typing.get_type_hints(PromotionParams)["primary_metric"]
    assert list(typing.get_args(allowed)) == list(METRICS)
    assert [field.name for field in dataclasses.fields(MarginParams)] == list(METRICS)


def test_what_is_not_measured_is_left_out() -> None:
    scores = {"scatter": 1.0, "l1": 0.1, "st_lpips": 0.2, "test_pairs": 3}
    assert measured(scores) == ["l1", "st_lpips", "scatter"]
    assert must_beat_baselines(scores) == ["l1", "st_lpips"]


def test_each_direction_is_that_of_a_better_picture() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 32, 32) * 0.2
    near = truth + 0.01 * torch.randn(truth.shape)
    far = torch.rand(1, 3, 32, 32) * 2 - 1
    better, worse = score(near, truth), score(far, truth)
    found = {name: bool(better[name] > worse[name]) for name in METRICS if name != "leak"}
    found["leak"] = False  # test_regions shows it: one region has nothing beyond
    assert found == HIGHER_IS_BETTER


def test_labels_and_headings_name_the_direction() -> None:
    assert METRICS["psnr"].label == "PSNR (dB) ↑"
    assert METRICS["ssim"].label == "SSIM ↑"
    assert METRICS["chroma"].label == "chroma error (CIELAB) ↓"
    assert list(METRIC_TITLES.values()) == [
        *("L1", "PSNR dB", "SSIM", "chroma", "ST-LPIPS", "scatter", "leak")
    ]


def test_the_definitions_load_no_torch() -> None:
    script = "import sys, pipeline_steps.scores.definitions as _; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
