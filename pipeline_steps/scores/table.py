"""``metrics/evaluation.json`` as people read it, and whether the generator has learned anything."""

from typing import Any

METRIC_TITLES = {"l1": "L1", "psnr": "PSNR dB", "ssim": "SSIM", "chroma": "chroma"}
HIGHER_IS_BETTER = {"l1": False, "psnr": True, "ssim": True, "chroma": False}
GENERATOR = "generator"
TRIVIAL_ANSWERS = ("copy_sketch", "white", "train_mean")


def format_evaluation(evaluation: dict[str, Any]) -> str:
    """A table, an answer a line, the generator first; then which answers it beats."""
    lines = [f"{'':12}" + "".join(f"{title:>10}" for title in METRIC_TITLES.values())]
    for answer in (GENERATOR, *TRIVIAL_ANSWERS):
        values = "".join(f"{evaluation[answer][metric]:10.3f}" for metric in METRIC_TITLES)
        lines.append(f"{answer:12}{values}")
    beaten = [answer for answer in TRIVIAL_ANSWERS if beats(evaluation, answer)]
    verdict = ", ".join(beaten) or "nothing"
    lines.append(f"on {evaluation['test_pairs']} test pairs; beats on all four metrics: {verdict}")
    return "\n".join(lines)


def beats(evaluation: dict[str, Any], answer: str) -> bool:
    """Whether the generator is strictly better than an answer on every metric."""
    generator, other = evaluation[GENERATOR], evaluation[answer]
    return all(
        generator[metric] > other[metric] if higher else generator[metric] < other[metric]
        for metric, higher in HIGHER_IS_BETTER.items()
    )
