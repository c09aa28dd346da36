"""The metrics' names, titles, units and directions, and the baselines. Imports no torch."""

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is shown, and which way is better."""

    title: str
    unit: str
    """Empty for a ratio."""
    higher_is_better: bool
    column: str
    """The heading of a narrow column."""

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
}
"""By their key in files, params and MLflow."""
METRIC_TITLES = {name: metric.column for name, metric in METRICS.items()}
HIGHER_IS_BETTER = {name: metric.higher_is_better for name, metric in METRICS.items()}
GENERATOR = "generator"
BASELINES = ("copy_sketch", "white", "train_mean")
"""Outputs that need no model: the sketch itself, white paper, the mean training picture."""
