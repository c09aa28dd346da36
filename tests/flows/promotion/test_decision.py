"""The promotion rule, on synthetic scores."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from flows.promotion.decision import Evidence, Scores, compare, decide
from pipeline_steps.params import Params, PromotionParams

N = 60
GOOD = {"l1": 0.16, "psnr": 18.0, "ssim": 0.65, "chroma": 9.0}
TRIVIAL = {"l1": 0.46, "psnr": 10.0, "ssim": 0.5, "chroma": 17.0}
WORSE_BY = {"l1": 1, "psnr": -1, "ssim": -1, "chroma": 1}


def scores(means: dict[str, float], *, seed: int = 1, noise: float = 0.02) -> dict[str, Any]:
    """N scores around the means; equal seeds simulate the same pictures."""
    random = np.random.default_rng(seed)
    return {key: mean * (1 + noise * random.standard_normal(N)) for key, mean in means.items()}


def better(by: float, metrics: tuple[str, ...] = tuple(GOOD)) -> dict[str, float]:
    """``GOOD``, improved by a fraction on some metrics."""
    changed = {key: GOOD[key] * (1 - WORSE_BY[key] * by) for key in metrics}
    return GOOD | changed


def evidence(challenger: Scores, champion: Scores | None, **others: Any) -> Evidence:
    facts: dict[str, Any] = {
        "challenger": challenger,
        "champion": champion,
        "baselines": {"copy_sketch": scores(TRIVIAL)},
        "slices": {"dark": np.arange(N) < N // 4},
    }
    return Evidence(**facts | others)


@pytest.fixture
def rule(params: Params) -> PromotionParams:
    return params.promotion


def test_the_first_model_must_beat_the_baselines_only(rule: PromotionParams) -> None:
    assert decide(evidence(scores(GOOD), None), rule).promote
    decision = decide(evidence(scores(GOOD | {"chroma": 17.5}), None), rule)
    assert not decision.promote
    assert decision.reason == "doesn't beat copy_sketch on chroma"


def test_a_clearly_better_challenger_is_promoted(rule: PromotionParams) -> None:
    decision = decide(evidence(scores(better(0.2), seed=2), scores(GOOD)), rule)
    assert decision.promote
    assert decision.intervals["l1"].low > 0
    assert "better by L1" in decision.reason


def test_a_worse_challenger_is_refused(rule: PromotionParams) -> None:
    decision = decide(evidence(scores(better(-0.2), seed=2), scores(GOOD)), rule)
    assert not decision.promote
    assert "not significantly better" in decision.reason


def test_a_tie_keeps_the_champion(rule: PromotionParams) -> None:
    assert not decide(evidence(scores(GOOD), scores(GOOD)), rule).promote


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_promotes_no_challenger(rule: PromotionParams, seed: int) -> None:
    one, other = scores(GOOD, seed=seed), scores(GOOD, seed=seed + 100)
    assert not decide(evidence(one, other), rule).promote
    assert not decide(evidence(other, one), rule).promote


def test_an_improvement_within_the_spread_of_seeds_is_refused(rule: PromotionParams) -> None:
    champion = scores(GOOD)
    challenger = {key: values * 0.99 for key, values in champion.items()} | {
        key: champion[key] * 1.01 for key in ("psnr", "ssim")
    }
    assert not decide(evidence(challenger, champion), rule).promote
    sharper = dataclasses.replace(rule, min_improvement=0.005)
    assert decide(evidence(challenger, champion), sharper).promote


def test_an_improved_metric_does_not_compensate_a_worse_one(rule: PromotionParams) -> None:
    challenger = scores(better(0.2, ("l1", "psnr", "chroma")) | {"ssim": 0.6}, seed=2)
    decision = decide(evidence(challenger, scores(GOOD)), rule)
    assert not decision.promote
    assert "may be worse: SSIM" in decision.reason


def test_a_collapse_on_one_kind_of_picture_is_refused(rule: PromotionParams) -> None:
    challenger = scores(better(0.3))
    dark = np.arange(N) < N // 4
    challenger["l1"][dark] = GOOD["l1"] * 1.3
    decision = decide(evidence(challenger, scores(GOOD)), rule)
    assert not decision.promote
    assert "collapses on dark pictures" in decision.reason


def test_a_slice_of_few_pictures_is_not_judged(rule: PromotionParams) -> None:
    challenger = scores(better(0.3))
    few = np.arange(N) < rule.min_slice_pairs - 1
    challenger["l1"][few] = GOOD["l1"] * 1.3
    assert decide(evidence(challenger, scores(GOOD), slices={"dark": few}), rule).promote


def test_a_failed_check_refuses_regardless_of_the_scores(rule: PromotionParams) -> None:
    facts = evidence(scores(better(0.2)), scores(GOOD), failed_checks=("gives NaN",))
    decision = decide(facts, rule)
    assert not decision.promote
    assert "gives NaN" in decision.reason


def test_a_nan_score_is_refused_without_an_exception(rule: PromotionParams) -> None:
    challenger = scores(better(0.2))
    challenger["l1"][3] = np.nan
    decision = decide(evidence(challenger, scores(GOOD)), rule)
    assert not decision.promote
    assert "not finite" in decision.reason


def test_with_too_few_test_pairs_the_challenger_is_refused(rule: PromotionParams) -> None:
    strict = dataclasses.replace(rule, min_test_pairs=N + 1)
    decision = decide(evidence(scores(GOOD), None), strict)
    assert not decision.promote
    assert f"only {N} test pairs" in decision.reason


def test_equal_evidence_gives_an_equal_decision(rule: PromotionParams) -> None:
    facts = evidence(scores(better(0.02), seed=3), scores(GOOD))
    assert decide(facts, rule) == decide(facts, rule)


def test_the_confidence_interval_has_its_nominal_coverage(rule: PromotionParams) -> None:
    """In most of 200 draws, the 95 % interval should contain the true difference."""
    quick = dataclasses.replace(rule, resamples=300)
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        champion = {key: random.normal(1.0, 0.1, N) for key in GOOD}
        challenger = {key: values - random.normal(0.05, 0.1, N) for key, values in champion.items()}
        interval = compare(challenger, champion, quick)["l1"]
        held += interval.low <= 0.05 <= interval.high
    assert 180 <= held <= 199


def test_scores_of_different_lengths_raise_a_value_error(rule: PromotionParams) -> None:
    short = {key: values[:-1] for key, values in scores(GOOD).items()}
    with pytest.raises(ValueError, match="champion: need 60 values of l1"):
        decide(evidence(scores(GOOD), short), rule)
