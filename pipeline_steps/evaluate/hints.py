"""What hints do on the test pairs: every metric by the number of dots, and obedience.

Shape legend: N test pairs, K of a batch, S pixels square; values in −1..1.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipeline_steps.evaluate.scoring import read_halves
from pipeline_steps.hints.by_region import COUNTS, paint_dots, place_dots
from pipeline_steps.hints.obedience import choose_pairs, measure_obedience
from pipeline_steps.networks.generator import Generator
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.scores.scorer import Scorer

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000
INTERVAL = (0.025, 0.975)
"""Quantiles of the bootstrapped mean: 95 % between them."""
ByCount = dict[int, dict[str, Tensor]]
"""``{dots: {metric: N float32}}``."""


@torch.inference_mode()
def score_by_count(
    generator: Generator, pairs: PackedPairs, *, batch_size: int, seed: int, st_lpips: bool
) -> ByCount:
    """Score the generator with 1, 2, 5 … dots of the true colours a picture.

    Nothing for a generator that takes no hints.
    """
    if not generator.architecture.takes_hints:
        return {}
    device = next(generator.parameters()).device
    scorer = Scorer(st_lpips=st_lpips, device=device)
    parts: dict[int, dict[str, list[Tensor]]] = {count: {} for count in COUNTS}
    for indices in torch.arange(len(pairs)).split(batch_size):
        sketch, truth = read_halves(pairs, indices)
        dots = place_dots(truth, sketch, [seed + int(index) for index in indices], max(COUNTS))
        given = sketch.to(device)
        reference = scorer.reference(truth.to(device), given)
        without_hints = generator(given)
        for count, by_metric in parts.items():
            hints = paint_dots(truth, sketch, dots, count).to(device)
            scores = scorer.score(generator.follow(without_hints, given, hints), reference)
            for metric, values in scores.values.items():
                by_metric.setdefault(metric, []).append(values.cpu())
    return {
        count: {metric: torch.cat(values) for metric, values in by_metric.items()}
        for count, by_metric in parts.items()
    }


@torch.inference_mode()
def score_obedience(
    generator: Generator, pairs: PackedPairs, *, batch_size: int, seed: int
) -> dict[str, float] | None:
    """Medians over the test pairs, in CIELAB units; None for a generator that takes no hints."""
    if not generator.architecture.takes_hints:
        return None
    device = next(generator.parameters()).device

    def colour(sketch: Tensor, hints: Tensor) -> Tensor:
        coloured: Tensor = generator(sketch.to(device), hints=hints.to(device))
        return coloured.cpu()

    sketch, truth = read_halves(pairs, choose_pairs(len(pairs)))
    return measure_obedience(colour, truth, sketch, seed=seed, batch_size=batch_size).medians()


def tabulate(by_count: ByCount, *, seed: int) -> "pd.DataFrame":
    """One row per number of dots: ``hints``, then each metric's mean, ``_low`` and ``_high``."""
    import pandas as pd

    rows = []
    for count, by_metric in by_count.items():
        row: dict[str, float] = {"hints": count}
        for metric, values in by_metric.items():
            array = values.double().numpy()
            random = np.random.default_rng(seed)
            means = [
                array[random.integers(0, len(array), len(array))].mean() for _ in range(RESAMPLES)
            ]
            low, high = np.quantile(means, INTERVAL)
            row |= {metric: array.mean(), f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def summarize(table: "pd.DataFrame", obedience: dict[str, float] | None) -> dict[str, Any] | None:
    """For ``metrics/evaluation.json``; None for a generator that takes no hints."""
    if obedience is None:
        return None
    by_count = {
        str(int(row["hints"])): {
            name: round(float(value), 6) for name, value in row.items() if name != "hints"
        }
        for _, row in table.iterrows()
    }
    return {"by_count": by_count, "obedience": obedience}
