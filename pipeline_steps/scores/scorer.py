"""Scores pictures by all metrics that are switched on; what training, evaluation and promotion use.

Shape legend: N pictures, S pixels square, float in −1..1, channels first.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline_steps.scores.kid import features_of
from pipeline_steps.scores.metrics import score
from pipeline_steps.scores.regions import TrueRegions, measure_truth, scatter_and_leak
from pipeline_steps.scores.st_lpips import load_network


@dataclass(frozen=True)
class Reference:
    """True pictures, and what is computed of them once for all pictures compared with them."""

    truth: Tensor
    """N×3×S×S."""
    regions: list[TrueRegions] | None
    """None if regions aren't scored."""
    maps: list[Tensor] | None
    """What the perceptual network makes of them; None without it."""


class Scores(NamedTuple):
    """Of N pictures."""

    values: dict[str, Tensor]
    """N float32 for each metric that is measured."""
    features: Tensor | None
    """N×D float64 on CPU, for KID; None without the perceptual network."""


class Scorer:
    """Scores pictures on one device.

    Raises :class:`~pipeline_steps.base.errors.DataError` if ``st_lpips`` is wanted and its weights
    are missing or damaged.
    """

    def __init__(self, *, st_lpips: bool, device: torch.device) -> None:
        self.network = load_network().to(device) if st_lpips else None

    @torch.inference_mode()
    def reference(self, truth: Tensor, sketch: Tensor | None = None) -> Reference:
        """Prepare N×3×S×S true pictures; with N×1×S×S sketches, regions are scored too."""
        regions = None if sketch is None else measure_truth(truth, sketch)
        return Reference(truth, regions, self.network.maps(truth) if self.network else None)

    @torch.inference_mode()
    def score(self, generated: Tensor, reference: Reference) -> Scores:
        """Score N×3×S×S pictures, by the metrics of ``METRICS`` in order.

        Raises :class:`ValueError` if their shape isn't that of the true ones.
        """
        values = score(generated, reference.truth)
        features = None
        if self.network is not None and reference.maps is not None:
            maps = self.network.maps(generated.float())
            values["st_lpips"] = self.network.compare(maps, reference.maps)
            features = features_of(maps)
        if reference.regions is not None:
            values["scatter"], values["leak"] = scatter_and_leak(generated, reference.regions)
        return Scores(values, features)
