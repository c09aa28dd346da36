"""The generator in evaluation mode: batch-norm statistics, val metrics, the sample panel.

Shape legend: N, K pictures, S = image size in pixels, channels first, values in −1..1.
"""

import math

import torch
from torch import Tensor

from pipeline_steps.base import signals
from pipeline_steps.hints.in_training import draw_hints
from pipeline_steps.networks.generator import Generator
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.pairs.train_split import TrainPairs
from pipeline_steps.pairs.values import tensor_of
from pipeline_steps.scores.scorer import Reference, Scorer
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.collapse import VarietyMeter
from pipeline_steps.train.state import HINTED, EpochRow

VAL_BATCH_SIZE = 16
BATCH_NORM_MOMENTUM = 0.1
MAX_KEPT_PIXELS = 3 << 20
"""Of val pairs, up to which :class:`ValReferences` keeps what it computed: 160 bytes a pixel."""


class ValReferences:
    """What val pictures are compared with; kept from epoch to epoch for small sets."""

    def __init__(self, val_pairs: PackedPairs, scorer: Scorer) -> None:
        self._scorer = scorer
        self._is_kept = len(val_pairs) * val_pairs.image_size**2 <= MAX_KEPT_PIXELS
        self._kept: dict[int, Reference] = {}

    def of(self, first: int, truth: Tensor) -> Reference:
        """Of the batch of N×3×S×S true pictures that starts with the val pair ``first``."""
        if (reference := self._kept.get(first)) is None:
            reference = self._scorer.reference(truth)
            if self._is_kept:
                self._kept[first] = reference
        return reference


@torch.inference_mode()
def colour_sketches(generator: Generator, sketches: Tensor) -> Tensor:
    """Colour K×1×S×S sketches → K×3×S×S float32 on CPU."""
    device = next(generator.parameters()).device
    generator.eval()
    coloured = [
        generator(batch.to(device)).float().cpu() for batch in sketches.split(VAL_BATCH_SIZE)
    ]
    generator.train()
    return torch.cat(coloured)


@torch.inference_mode()
def recalibrate_batch_norm(generator: Generator, train_pairs: TrainPairs) -> None:
    """Estimate the batch-norm statistics again, with the current weights and no dropout.

    The running averages lag behind the weights and are collected with dropout on, which costs a
    model that is used without it much of its quality (Wu & Johnson 2021, arXiv:2105.07576, section
    3). Training itself never reads them. The pairs are evenly spaced, the same ones each time.
    Raises :class:`Interruption` between batches.
    """
    norms = [module for module in generator.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if not norms:
        return
    device = next(generator.parameters()).device
    generator.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for pixels in torch.tensor(train_pairs.sample()).split(VAL_BATCH_SIZE):
        signals.raise_if_received()
        generator(tensor_of(pixels.to(device))[:, SKETCH])
    for norm in norms:
        norm.momentum = BATCH_NORM_MOMENTUM
    generator.train()


@torch.inference_mode()
def validate(
    generator: Generator,
    val_pairs: PackedPairs,
    scorer: Scorer,
    references: ValReferences,
    *,
    with_hints: bool = False,
) -> EpochRow:
    """Mean metrics over the val pairs: ``{"val_l1": …}``; ``val_variety`` by `VarietyMeter`.

    Of a generator that takes hints, L1 with some as well; NaN if not ``with_hints``. Without those
    of regions, which take longer than the pictures' generation.
    Raises :class:`Interruption` between batches.
    """
    device = next(generator.parameters()).device
    sums: dict[str, float] = {}
    hinted_sum = 0.0
    variety = VarietyMeter()
    generator.eval()
    for indices in torch.arange(len(val_pairs)).split(VAL_BATCH_SIZE):
        signals.raise_if_received()
        pairs = fetch(val_pairs, indices, device)
        generated = generator(pairs[:, SKETCH])
        reference = references.of(int(indices[0]), pairs[:, COLOUR])
        scores = scorer.score(generated, reference).values
        for name, values in scores.items():
            sums[name] = sums.get(name, 0.0) + values.sum().item()
        if with_hints:
            truth, hints = draw_hints(pairs[:, COLOUR], pairs[:, SKETCH], indices.tolist())
            followed = generator.follow(generated, pairs[:, SKETCH], hints)
            hinted_sum += (followed - truth).abs().mean(dim=(1, 2, 3)).sum().item()
        variety.add(generated, pairs[:, COLOUR])
    generator.train()
    means = {f"val_{name}": total / len(val_pairs) for name, total in sums.items()}
    if generator.architecture.takes_hints:
        means[HINTED] = hinted_sum / len(val_pairs) if with_hints else math.nan
    return {**means, "val_variety": variety.variety()}
