"""Brings what lies in an outbox to MLflow, in the background, for as long as it takes."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.addresses import without_credentials
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.outbox import Entry, Outbox

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_S = 2.0
IDLE_LIMIT_S = 30.0
"""At the end of a training, how long no entry gets through before the rest is left to later."""
TOTAL_LIMIT_S = 600.0
INTERRUPTED_LIMIT_S = 3.0
"""A machine that is wanted back gives ten seconds in all."""
NEVER = "INVALID_PARAMETER_VALUE"
"""What MLflow says of an entry that it won't take at any time."""
MAX_BATCH_METRICS = 1000
"""That MLflow takes in one call."""


class Courier:
    """Delivers an outbox's entries to one run, in order, until it's told to finish."""

    def __init__(self, outbox: Outbox, client: "MlflowClient", run_id: str) -> None:
        self.outbox = outbox
        self.client = client
        self.run_id = run_id
        self.server = without_credentials(mlflow_server.tracking_uri())
        self.delivered = outbox.count_delivered(self.server, run_id)
        self.refused: list[str] = []
        """Reasons of entries that MLflow won't ever take."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="courier")

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def finish(self, *, idle_limit_s: float, total_limit_s: float) -> int:
        """Wait for the rest, as long as entries get through; return how many are left."""
        self._closing.set()
        deadline_s = time.monotonic() + total_limit_s
        last, idle_since_s = self.delivered, time.monotonic()
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            self._thread.join(0.05)
            if self.delivered != last:
                last, idle_since_s = self.delivered, time.monotonic()
            elif time.monotonic() - idle_since_s > idle_limit_s:
                break
        return len(self.outbox.entries) - self.delivered

    def _run(self) -> None:
        while True:
            batch = next_batch(self.outbox.entries[self.delivered :])
            if not batch and self._closing.is_set():
                return
            if not batch:
                self.outbox.wait_for_more_than(self.delivered, 0.5)
            elif not self._try(batch):
                time.sleep(0.2 if self._closing.wait(RETRY_S) else 0)

    def _try(self, batch: Sequence[Entry]) -> bool:
        """Deliver a batch; False if that failed and may do later."""
        from mlflow.exceptions import MlflowException

        try:
            deliver(self.client, self.run_id, batch, self.outbox.files)
        except OSError:  # the network's and the disk's
            return False
        except Exception as error:
            if isinstance(error, MlflowException) and error.error_code != NEVER:
                return False
            # it would not come through later either, and must not hold up the rest
            self.refused.append(f"{batch[0].key}: {mlflow_server.one_line(error)}")
        self.outbox.mark_delivered(self.server, self.run_id, self.delivered + len(batch))
        self.delivered += len(batch)
        return True


def next_batch(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entry, or as many metrics from the first on as go into one call."""
    num_entries, num_metrics = 0, 0
    for entry in entries:
        if entry.kind != "metrics":
            break
        num_metrics += len(entry.content["values"])
        if num_entries and num_metrics > MAX_BATCH_METRICS:
            break
        num_entries += 1
    return entries[: max(1, num_entries)]


def deliver(client: "MlflowClient", run_id: str, batch: Sequence[Entry], files: Path) -> None:
    """Send a batch as :func:`next_batch` gives it. Raises what MLflow raises."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

    entry, content = batch[0], batch[0].content
    if entry.kind == "metrics":
        rows = [
            Metric(key, value, each.content["time_ms"], each.content["step"])
            for each in batch
            for key, value in each.content["values"].items()
        ]
        client.log_batch(run_id, rows)
    elif entry.kind == "tags":
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in content.items()])
    elif entry.kind == "params":
        runs.log_params(client, run_id, content)
    elif entry.kind == "file":
        client.log_artifact(run_id, str(files / content["file"]), content["folder"] or None)
    elif entry.kind == "dataset":
        tags = [InputTag(key, value) for key, value in content["tags"].items()]
        client.log_inputs(run_id, [DatasetInput(Dataset(**content["dataset"]), tags)])
    else:
        client.set_terminated(run_id, content["status"], end_time=content["time_ms"])


def deliver_waiting(client: "MlflowClient", experiment: str, work: Path) -> None:
    """Deliver every outbox below ``work`` that waits for a server, and say so.

    Raises :class:`~pipeline_steps.base.errors.TrackingUnreachableError` if the server goes away.
    """
    for folder in sorted(path.parent for path in work.glob("*/outbox")):
        outbox = Outbox(folder)
        if not outbox.is_waiting():
            continue
        run_id = runs.open_run(client, experiment, training=folder.name, work_folder=folder)
        courier = Courier(outbox, client, run_id)
        waiting = len(outbox.entries) - courier.delivered
        courier.start()
        left = courier.finish(idle_limit_s=IDLE_LIMIT_S, total_limit_s=TOTAL_LIMIT_S)
        if left:
            raise mlflow_server.went_away(
                f"{left} of {waiting} entries of training {folder.name} wait"
            )
        print(f"deliver: {waiting} entries of training {folder.name} to {courier.server}")
