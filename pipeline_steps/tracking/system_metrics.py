"""CPU, memory, disk, network and GPU as MLflow measures them, passed on instead of sent.

Import it only where MLflow is used: it imports MLflow.
"""

from collections.abc import Callable

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


class SystemMetrics(SystemMetricsMonitor):
    """Measures every ten seconds in a thread, as MLflow does, without any request to a server."""

    def __init__(self, on_values: Callable[[dict[str, float]], None]) -> None:
        super().__init__(run_id="")  # type: ignore[no-untyped-call]
        self.on_values = on_values

    def monitor(self) -> None:
        """Measure until finished."""
        self.collect_metrics()  # type: ignore[no-untyped-call]
        while not self._shutdown_event.wait(self.sampling_interval):
            self.collect_metrics()  # type: ignore[no-untyped-call]
            self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        """Pass on what was measured, under MLflow's names."""
        self.on_values({f"{self._metrics_prefix}{key}": value for key, value in metrics.items()})
        for meter in self.monitors:
            meter.clear_metrics()

    def finish(self) -> None:
        """Stop measuring."""
        if self._process is not None:
            self._shutdown_event.set()
            self._process.join()
            self._process = None
