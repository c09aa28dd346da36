"""What the metrics are for, on drawn pictures: each sees its fault more than the others do."""

import numpy as np
import pytest
import torch

from benchmarks.yardstick import CASES, draw, format_table, score_cases
from pipeline_steps.pairs.values import tensor_of


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, float]]:
    pixels = np.stack([draw(number, 128) for number in range(4)])
    return score_cases(tensor_of(torch.from_numpy(pixels)))


def test_the_truth_has_the_best_value_of_every_metric(cases: dict[str, dict[str, float]]) -> None:
    truth = cases["truth"]
    assert truth["l1"] == truth["chroma"] == truth["scatter"] == truth["leak"] == 0.0
    assert truth["ssim"] == pytest.approx(1.0)
    assert truth["st_lpips"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        ("scatter", "rainbow in one region"),
        ("st_lpips", "blurred"),
        ("chroma", "wrong hues"),
    ],
)
def test_each_metric_sees_its_fault_most(
    cases: dict[str, dict[str, float]], metric: str, fault: str
) -> None:
    coloured = {name: means[metric] for name, means in cases.items() if "sketch" not in name}
    assert max(coloured, key=lambda name: coloured[name]) == fault


def test_a_leak_is_told_from_a_rainbow(cases: dict[str, dict[str, float]]) -> None:
    leak, rainbow = cases["leak"], cases["rainbow in one region"]
    assert leak["leak"] / leak["scatter"] > 3 * rainbow["leak"] / rainbow["scatter"]
    others = [
        cases[name]["leak"] for name in cases if name not in ("leak", "rainbow in one region")
    ]
    assert leak["leak"] > 2 * max(others)


@pytest.mark.parametrize("metric", ["scatter", "leak"])
def test_flatness_is_blind_to_missing_and_wrong_colours(
    cases: dict[str, dict[str, float]], metric: str
) -> None:
    blind = [cases[name][metric] for name in ("copy of the sketch", "grey", "wrong hues")]
    seen = cases["rainbow in one region" if metric == "scatter" else "leak"][metric]
    assert max(blind) < seen / 5


def test_a_shift_costs_st_lpips_less_than_l1(cases: dict[str, dict[str, float]]) -> None:
    shifted, blurred = cases["shifted by 2 px"], cases["blurred"]
    assert shifted["l1"] > 0.5 * blurred["l1"]
    assert shifted["st_lpips"] < 0.1 * blurred["st_lpips"]


def test_the_table_has_a_line_for_each_case(cases: dict[str, dict[str, float]]) -> None:
    lines = format_table(cases, 4).splitlines()
    assert len(lines) == 2 + len(CASES)
    assert lines[0].startswith("| 4 drawn pairs | L1 | PSNR dB |")
