"""``metrics/evaluation.json`` as a text table, and which baselines the generator beats."""

from typing import Any

from pipeline_steps.scores.definitions import (
    BASELINES,
    GENERATOR,
    HIGHER_IS_BETTER,
    METRIC_TITLES,
)


def format_evaluation(evaluation: dict[str, Any]) -> str:
    """A table, one line per method, the generator first; then which baselines it beats."""
    lines = [f"{'':12}" + "".join(f"{title:>10}" for title in METRIC_TITLES.values())]
    for method in (GENERATOR, *BASELINES):
        values = "".join(f"{evaluation[method][metric]:10.3f}" for metric in METRIC_TITLES)
        lines.append(f"{method:12}{values}")
    beaten = [baseline for baseline in BASELINES if beats(evaluation, baseline)]
    verdict = ", ".join(beaten) or "no baseline"
    lines.append(f"on {evaluation['test_pairs']} test pairs; beats {verdict} on all four metrics")
    return "\n".join(lines)


def best_baseline(evaluation: dict[str, Any]) -> dict[str, float]:
    """Each metric's best value among the baselines: what beats these beats every baseline."""
    return {
        metric: (max if higher else min)(evaluation[name][metric] for name in BASELINES)
        for metric, higher in HIGHER_IS_BETTER.items()
    }


def beats(evaluation: dict[str, Any], baseline: str) -> bool:
    """Whether the generator is strictly better than a baseline on every metric."""
    generator, other = evaluation[GENERATOR], evaluation[baseline]
    return all(
        generator[metric] > other[metric] if higher else generator[metric] < other[metric]
        for metric, higher in HIGHER_IS_BETTER.items()
    )
