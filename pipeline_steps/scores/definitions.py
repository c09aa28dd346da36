"""The metrics' names, titles, units and directions, and the baselines. Imports no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """How a metric is shown, and which way is better."""

    title: str
    unit: str
    """Empty for a ratio."""
    higher_is_better: bool
    column: str
    """The heading of a narrow column."""
    beats_baselines: bool = True
    """Whether a model must beat the baselines on it: no model is as flat as white paper."""

    @property
    def label(self) -> str:
        """Title, unit and direction: ``PSNR (dB) ↑``."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{unit} {'↑' if self.higher_is_better else '↓'}"


METRICS = {
    "l1": Metric("L1", "−1..1", higher_is_better=False, column="L1"),
    "psnr": Metric("PSNR", "dB", higher_is_better=True, column="PSNR dB"),
    "ssim": Metric("SSIM", "", higher_is_better=True, column="SSIM"),
    "chroma": Metric("chroma error", "CIELAB", higher_is_better=False, column="chroma"),
    "st_lpips": Metric("ST-LPIPS", "", higher_is_better=False, column="ST-LPIPS"),
    "scatter": Metric(
        "scatter inside regions",
        "CIELAB",
        higher_is_better=False,
        column="scatter",
        beats_baselines=False,
    ),
    "leak": Metric(
        "leak across lines",
        "CIELAB",
        higher_is_better=False,
        column="leak",
        beats_baselines=False,
    ),
}
"""By their key in files, params and MLflow. Every picture has a value of each."""
PIXEL_METRICS = ("l1", "psnr", "ssim", "chroma")
"""Those that need neither weights nor regions: every evaluation has them."""
METRIC_TITLES = {name: metric.column for name, metric in METRICS.items()}
HIGHER_IS_BETTER = {name: metric.higher_is_better for name, metric in METRICS.items()}
GENERATOR = "generator"
BASELINES = ("copy_sketch", "white", "train_mean")
"""Outputs that need no model: the sketch itself, white paper, the mean training picture."""


def measured(scores: Mapping[str, Any]) -> list[str]:
    """The metrics that ``scores`` has, in order.

    ST-LPIPS can be switched off, and models of earlier versions have the first four alone.
    """
    return [metric for metric in METRICS if metric in scores]


def must_beat_baselines(scores: Mapping[str, Any]) -> list[str]:
    """The measured metrics on which a model must beat the baselines."""
    return [metric for metric in measured(scores) if METRICS[metric].beats_baselines]
