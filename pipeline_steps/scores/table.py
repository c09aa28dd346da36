"""``metrics/evaluation.json`` as people read it, and which baselines the generator beats."""

from typing import Any

from pipeline_steps.scores.definitions import (
    BASELINES,
    GENERATOR,
    HIGHER_IS_BETTER,
    METRIC_TITLES,
)


def format_evaluation(evaluation: dict[str, Any]) -> str:
    """A table, one line per answer, the generator first; then which baselines it beats."""
    lines = [f"{'':12}" + "".join(f"{title:>10}" for title in METRIC_TITLES.values())]
    for answer in (GENERATOR, *BASELINES):
        values = "".join(f"{evaluation[answer][metric]:10.3f}" for metric in METRIC_TITLES)
        lines.append(f"{answer:12}{values}")
    beaten = [answer for answer in BASELINES if beats(evaluation, answer)]
    verdict = ", ".join(beaten) or "no baseline"
    lines.append(f"on {evaluation['test_pairs']} test pairs; beats {verdict} on all four metrics")
    return "\n".join(lines)


def beats(evaluation: dict[str, Any], answer: str) -> bool:
    """Whether the generator is strictly better than an answer on every metric."""
    generator, other = evaluation[GENERATOR], evaluation[answer]
    return all(
        generator[metric] > other[metric] if higher else generator[metric] < other[metric]
        for metric, higher in HIGHER_IS_BETTER.items()
    )
