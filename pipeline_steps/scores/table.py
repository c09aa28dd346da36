"""``metrics/evaluation.json`` as a text table, and which baselines the generator beats."""

from typing import Any

from pipeline_steps.scores.definitions import (
    BASELINES,
    GENERATOR,
    HIGHER_IS_BETTER,
    METRIC_TITLES,
    measured,
    must_beat_baselines,
)


def format_evaluation(evaluation: dict[str, Any]) -> str:
    """A table, one line per method, the generator first; then which baselines it beats."""
    metrics = measured(evaluation[GENERATOR])
    of_sets = _set_distances(evaluation)
    titles = [*(METRIC_TITLES[metric] for metric in metrics), *of_sets]
    lines = [f"{'':12}" + "".join(f"{title:>10}" for title in titles)]
    for method in (GENERATOR, *BASELINES):
        values = "".join(f"{evaluation[method][metric]:10.3f}" for metric in metrics)
        values += "".join(f"{by_method[method]:10.1f}" for by_method in of_sets.values())
        lines.append(f"{method:12}{values}")
    beaten = [baseline for baseline in BASELINES if beats(evaluation, baseline)]
    verdict = ", ".join(beaten) or "no baseline"
    judged = [METRIC_TITLES[metric] for metric in must_beat_baselines(evaluation[GENERATOR])]
    lines.append(f"on {evaluation['test_pairs']} test pairs; beats {verdict} on {join(judged)}")
    return "\n".join([*lines, *_line_styles(evaluation), *_hints(evaluation)])


def generator_metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    """The generator's numbers: its metrics, KID and FID where they are measured, line styles."""
    values = dict(evaluation[GENERATOR])
    if evaluation.get("kid"):
        values["kid"] = evaluation["kid"][GENERATOR]["value"]
    if evaluation.get("fid"):
        values["fid"] = evaluation["fid"][GENERATOR]
    if costs := line_style_costs(evaluation):
        values["worst_line_style"] = max(costs.values())
    if hints := evaluation.get("hints"):
        values |= {f"hint_{name}": value for name, value in hints["obedience"].items()}
    return values


def line_style_costs(evaluation: dict[str, Any]) -> dict[str, float]:
    """How much higher L1 is on sketches of each line style, as a share of L1 on those as they are.

    Empty for an evaluation of an earlier version.
    """
    l1 = evaluation[GENERATOR]["l1"]
    styles = evaluation.get("line_styles") or {}
    return {name: round(scores["l1"] / l1 - 1, 4) for name, scores in styles.items()}


def _set_distances(evaluation: dict[str, Any]) -> dict[str, dict[str, float]]:
    """KID and FID by their column's title and by method, where they are measured."""
    estimates, found = evaluation.get("kid"), evaluation.get("fid")
    columns = {}
    if estimates:
        columns["KID·1000"] = {name: each["value"] for name, each in estimates.items()}
    return columns | ({"FID": found} if found else {})


def _line_styles(evaluation: dict[str, Any]) -> list[str]:
    """What each line style adds to L1, on one line."""
    costs = [
        f"{name.replace('_', ' ')} {cost:+.0%}"
        for name, cost in line_style_costs(evaluation).items()
    ]
    return [f"L1 on other line styles: {', '.join(costs)}"] if costs else []


def _hints(evaluation: dict[str, Any]) -> list[str]:
    """What hints change, and how far they are obeyed: two lines."""
    if not (hints := evaluation.get("hints")):
        return []
    by_count = sorted(hints["by_count"].items(), key=lambda each: int(each[0]))
    steps = ", ".join(f"{count}: {means['psnr']:.1f}" for count, means in by_count)
    medians = ", ".join(
        f"{name.replace('_', ' ')} {hints['obedience'][name]:.1f}"
        for name in ("at_hint", "in_region", "elsewhere", "across_ink")
        if name in hints["obedience"]
    )
    return [
        f"PSNR dB by the number of hints: {steps}",
        f"obedience to a hint of another colour, median CIELAB distances: {medians}",
    ]


def join(names: list[str]) -> str:
    """``L1, SSIM and chroma``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def best_baseline(evaluation: dict[str, Any]) -> dict[str, float]:
    """Each metric's best value among the baselines: what beats these beats every baseline."""
    return {
        metric: (max if HIGHER_IS_BETTER[metric] else min)(
            evaluation[name][metric] for name in BASELINES
        )
        for metric in must_beat_baselines(evaluation[GENERATOR])
    }


def beats(evaluation: dict[str, Any], baseline: str) -> bool:
    """Whether the generator is strictly better than a baseline on every metric that says so."""
    generator, other = evaluation[GENERATOR], evaluation[baseline]
    return all(
        generator[metric] > other[metric]
        if HIGHER_IS_BETTER[metric]
        else generator[metric] < other[metric]
        for metric in must_beat_baselines(generator)
    )
