"""The generator and the baselines on all test pairs: metrics, features, line styles, FID.

Shape legend: N test pairs, K of a batch, S pixels square, D features; values in −1..1.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline_steps.networks.generator import Generator
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.pairs.values import tensor_of
from pipeline_steps.scores.baselines import draw_baselines
from pipeline_steps.scores.definitions import GENERATOR
from pipeline_steps.scores.fid import fid, load_inception
from pipeline_steps.scores.kid import features_of
from pipeline_steps.scores.line_styles import draw_styles
from pipeline_steps.scores.metrics import score
from pipeline_steps.scores.scorer import Scorer

TRUTH = "truth"
"""The name of the true pictures, beside those of the generator and the baselines."""


class MethodScores(NamedTuple):
    """Of all N test pictures, by method: the generator or a baseline, by name."""

    values: dict[str, dict[str, Tensor]]
    """``{method: {metric: N float32}}``."""
    features: dict[str, Tensor]
    """N×D by method, and of the truth: what KID compares. Empty without ST-LPIPS."""


@torch.inference_mode()
def score_pairs(
    generator: Generator,
    pairs: PackedPairs,
    train_mean: Tensor,
    *,
    batch_size: int,
    st_lpips: bool = False,
) -> MethodScores:
    """Score the generator and the baselines.

    ``train_mean`` is 3×S×S float in −1..1. Raises :class:`DataError` if ST-LPIPS is wanted and its
    weights are missing.
    """
    device = next(generator.parameters()).device
    scorer = Scorer(st_lpips=st_lpips, device=device)
    values: dict[str, dict[str, list[Tensor]]] = {}
    features: dict[str, list[Tensor]] = {}
    for indices in torch.arange(len(pairs)).split(batch_size):
        sketch, truth = (half.to(device) for half in read_halves(pairs, indices))
        reference = scorer.reference(truth, sketch)
        if reference.maps is not None:
            features.setdefault(TRUTH, []).append(features_of(reference.maps))
        pictures = {GENERATOR: generator(sketch), **draw_baselines(sketch, train_mean)}
        for method, picture in pictures.items():
            scores = scorer.score(picture, reference)
            for metric, scored in scores.values.items():
                values.setdefault(method, {}).setdefault(metric, []).append(scored.cpu())
            if scores.features is not None:
                features.setdefault(method, []).append(scores.features)
    return MethodScores(
        {
            method: {metric: torch.cat(parts) for metric, parts in by_metric.items()}
            for method, by_metric in values.items()
        },
        {name: torch.cat(parts) for name, parts in features.items()},
    )


@torch.inference_mode()
def score_line_styles(
    generator: Generator, pairs: PackedPairs, *, batch_size: int, seed: int
) -> dict[str, dict[str, float]]:
    """The generator's mean metrics on the test sketches redrawn in each line style, by name.

    The metrics of pixels alone: what a style costs shows in L1.
    """
    device = next(generator.parameters()).device
    sums: dict[str, dict[str, float]] = {}
    for batch in torch.arange(len(pairs)).split(batch_size):
        sketch, truth = (half.to(device) for half in read_halves(pairs, batch))
        for style, redrawn in draw_styles(sketch, seed=seed + int(batch[0])).items():
            for metric, values in score(generator(redrawn), truth).items():
                by_metric = sums.setdefault(style, {})
                by_metric[metric] = by_metric.get(metric, 0.0) + float(values.double().sum())
    return {
        style: {metric: round(total / len(pairs), 6) for metric, total in by_metric.items()}
        for style, by_metric in sums.items()
    }


@torch.inference_mode()
def score_fid(
    weights: Path, generator: Generator, pairs: PackedPairs, train_mean: Tensor, *, batch_size: int
) -> dict[str, Any]:
    """FID of the generator and the baselines, by name, and the sha256 of Inception's weights.

    Raises :class:`DataError` if the weights are missing or another network's.
    """
    device = next(generator.parameters()).device
    inception = load_inception(weights).to(device)
    features: dict[str, list[Tensor]] = {}
    for indices in torch.arange(len(pairs)).split(batch_size):
        sketch, truth = (half.to(device) for half in read_halves(pairs, indices))
        pictures = {GENERATOR: generator(sketch), **draw_baselines(sketch, train_mean)}
        for name, picture in {TRUTH: truth, **pictures}.items():
            features.setdefault(name, []).append(inception(picture))
    joined = {name: torch.cat(parts) for name, parts in features.items()}
    truth_features = joined.pop(TRUTH)
    values = {name: round(fid(each, truth_features), 3) for name, each in joined.items()}
    return {**values, "weights_sha256": inception.sha256}


def read_halves(pairs: PackedPairs, indices: Tensor) -> tuple[Tensor, Tensor]:
    """K packed pairs → sketches K×1×S×S and truths K×3×S×S, float in −1..1."""
    values = tensor_of(torch.from_numpy(pairs.pixels[indices.numpy()]))
    return values[:, SKETCH], values[:, COLOUR]
