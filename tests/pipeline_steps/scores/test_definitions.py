import subprocess
import sys
import typing
from pathlib import Path

import torch

from pipeline_steps.params import PromotionParams
from pipeline_steps.scores.definitions import HIGHER_IS_BETTER, METRIC_TITLES, METRICS
from pipeline_steps.scores.metrics import score

REPOSITORY = Path(__file__).parents[3]


def test_scores_and_params_use_the_defined_metrics() -> None:
    pictures = torch.zeros(1, 3, 16, 16)
    assert list(score(pictures, pictures)) == list(METRICS)
    allowed = typing.get_type_hints(PromotionParams)["primary_metric"]
    assert list(typing.get_args(allowed)) == list(METRICS)


def test_each_direction_is_that_of_a_better_picture() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 16, 16) * 2 - 1
    near, far = truth * 0.9, -truth
    better, worse = score(near, truth), score(far, truth)
    found = {name: bool(better[name] > worse[name]) for name in METRICS}
    assert found == HIGHER_IS_BETTER


def test_labels_and_headings_name_the_direction() -> None:
    assert METRICS["psnr"].label == "PSNR (dB) ↑"
    assert METRICS["ssim"].label == "SSIM ↑"
    assert METRICS["chroma"].label == "chroma error (CIELAB) ↓"
    assert list(METRIC_TITLES.values()) == ["L1", "PSNR dB", "SSIM", "chroma"]


def test_the_definitions_load_no_torch() -> None:
    script = "import sys, pipeline_steps.scores.definitions as _; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
