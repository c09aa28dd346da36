"""Whether a challenger becomes the champion: a pure function of scores and a rule.

A model must beat every baseline on every metric but scatter and leak, which are 0 without colour.
Against a champion it must also be significantly better on the primary metric, by more than another
seed gives, and worse on none by more than a margin; and no kind of picture may collapse.
Significance is by a paired bootstrap over the test pictures (Efron & Tibshirani 1993, chapter 13):
both models are scored on the same pictures, which are resampled with replacement. Ties keep the
champion.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline_steps.params import PromotionParams
from pipeline_steps.scores.definitions import (
    HIGHER_IS_BETTER,
    METRIC_TITLES,
    measured,
    must_beat_baselines,
)

Float64Array = npt.NDArray[np.float64]
Scores = Mapping[str, Float64Array]
"""Metric → N values, one per test picture."""


class Interval(NamedTuple):
    """How much better the challenger is; below 0 it's worse. In the metric's units."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a decision depends on."""

    challenger: Scores
    champion: Scores | None
    """None when there is no champion yet."""
    baselines: Mapping[str, Scores]
    """Scores of the baselines, by name."""
    slices: Mapping[str, npt.NDArray[np.bool_]]
    """Kind of picture → N booleans: which test pictures are of that kind."""
    failed_checks: tuple[str, ...] = ()
    """What :func:`~flows.promotion.checks.find_failures` found wrong with the challenger."""

    @property
    def test_pairs(self) -> int:
        """N."""
        return len(next(iter(self.challenger.values())))

    @property
    def metrics(self) -> list[str]:
        """What the challenger is scored by, and all others too."""
        return measured(self.challenger)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict and its grounds."""

    promote: bool
    reasons: tuple[str, ...]
    """Every reason against promoting, or if there is none, the reason for it."""
    intervals: Mapping[str, Interval]
    """Improvement over the champion by metric; empty without a champion."""

    @property
    def reason(self) -> str:
        """All reasons on one line."""
        return "; ".join(self.reasons)


def decide(evidence: Evidence, rule: PromotionParams) -> Decision:
    """Judge the evidence by the rule. Equal arguments give an equal decision.

    Raises :class:`ValueError` if the evidence doesn't fit together: metrics that are missing, or
    arrays of different lengths.
    """
    _require_consistent(evidence)
    against = list(evidence.failed_checks)
    if evidence.test_pairs < rule.min_test_pairs:
        against.append(
            f"only {evidence.test_pairs} test pairs, promotion.min_test_pairs is"
            f" {rule.min_test_pairs}"
        )
    if not all(np.isfinite(evidence.challenger[metric]).all() for metric in evidence.metrics):
        return Decision(promote=False, reasons=(*against, "scores are not finite"), intervals={})
    against += _not_beating_baselines(evidence)
    if evidence.champion is None:
        for_it = ("there was no champion, and it beats all baselines",)
        return Decision(promote=not against, reasons=tuple(against) or for_it, intervals={})
    intervals = compare(evidence.challenger, evidence.champion, rule)
    against += _not_better(intervals[rule.primary_metric], evidence.champion, rule)
    against += _inferior(intervals, rule)
    against += _collapsed_slices(evidence, rule)
    primary = intervals[rule.primary_metric]
    for_it = (f"better by {format_interval(rule.primary_metric, primary, rule)}",)
    return Decision(promote=not against, reasons=tuple(against) or for_it, intervals=intervals)


def compare(challenger: Scores, champion: Scores, rule: PromotionParams) -> dict[str, Interval]:
    """Paired bootstrap intervals of the mean improvement, for every metric."""
    metrics = measured(challenger)
    improvements = np.stack(
        [improvement(metric, challenger, champion) for metric in metrics], axis=1
    )
    num_pairs = len(improvements)
    random = np.random.default_rng(rule.seed)
    means = np.stack(
        [
            improvements[random.integers(0, num_pairs, num_pairs)].mean(axis=0)
            for _ in range(rule.resamples)
        ]
    )
    tail = (1 - rule.confidence) / 2
    lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
    return {
        metric: Interval(float(mean), float(low), float(high))
        for metric, mean, low, high in zip(
            metrics, improvements.mean(axis=0), lows, highs, strict=True
        )
    }


def improvement(metric: str, challenger: Scores, champion: Scores) -> Float64Array:
    """Picture by picture how much better the challenger is, whichever way the metric runs."""
    difference = np.asarray(challenger[metric] - champion[metric], dtype=np.float64)
    return difference if HIGHER_IS_BETTER[metric] else -difference


def format_interval(metric: str, interval: Interval, rule: PromotionParams) -> str:
    """``L1 0.0123 (95 % interval 0.0101 to 0.0144)``."""
    return (
        f"{METRIC_TITLES[metric]} {interval.mean:.4g} ({100 * rule.confidence:g} % interval"
        f" {interval.low:.4g} to {interval.high:.4g})"
    )


def _not_beating_baselines(evidence: Evidence) -> list[str]:
    found = []
    for baseline, scores in evidence.baselines.items():
        lost = [
            METRIC_TITLES[metric]
            for metric in must_beat_baselines(evidence.challenger)
            if not improvement(metric, evidence.challenger, scores).mean() > 0
        ]
        if lost:
            found.append(f"doesn't beat {baseline} on {', '.join(lost)}")
    return found


def _not_better(primary: Interval, champion: Scores, rule: PromotionParams) -> list[str]:
    needed = rule.min_improvement * abs(float(champion[rule.primary_metric].mean()))
    if primary.low > needed:
        return []
    return [
        f"not significantly better: {format_interval(rule.primary_metric, primary, rule)},"
        f" more than {needed:.4g} is needed"
    ]


def _inferior(intervals: Mapping[str, Interval], rule: PromotionParams) -> list[str]:
    margins = dataclasses.asdict(rule.margins)
    return [
        f"may be worse: {format_interval(metric, interval, rule)},"
        f" the margin is {margins[metric]:g}"
        for metric, interval in intervals.items()
        if interval.low < -margins[metric]
    ]


def _collapsed_slices(evidence: Evidence, rule: PromotionParams) -> list[str]:
    assert evidence.champion is not None
    gains = improvement(rule.primary_metric, evidence.challenger, evidence.champion)
    found = []
    for name, members in evidence.slices.items():
        if members.sum() < rule.min_slice_pairs:
            continue
        champion = abs(float(evidence.champion[rule.primary_metric][members].mean()))
        loss = -float(gains[members].mean())
        if loss > rule.slice_margin * champion:
            found.append(
                f"collapses on {name} pictures: {METRIC_TITLES[rule.primary_metric]} worse by"
                f" {loss:.4g}, {loss / max(champion, 1e-12):.0%} of the champion's"
            )
    return found


def _require_consistent(evidence: Evidence) -> None:
    models = {"challenger": evidence.challenger, **evidence.baselines}
    if evidence.champion is not None:
        models["champion"] = evidence.champion
    for name, scores in models.items():
        for metric in evidence.metrics:
            if metric not in scores or scores[metric].shape != (evidence.test_pairs,):
                raise ValueError(f"{name}: need {evidence.test_pairs} values of {metric}")
    for name, members in evidence.slices.items():
        if members.shape != (evidence.test_pairs,) or members.dtype != np.bool_:
            raise ValueError(f"slice {name}: need {evidence.test_pairs} booleans")
    if not evidence.test_pairs:
        raise ValueError("no test pictures")
