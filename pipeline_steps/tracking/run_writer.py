"""Sends a journal's entries to one MLflow run; sending an entry again changes nothing."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorizer.base.files import file_sha256
from pipeline_steps.tracking.journal import Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_BATCH_METRICS = 1000
MAX_BATCH_PARAMS = 100
"""What MLflow accepts in one request."""


def next_batch(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entry, or as many metrics from the first on as fit into one request.

    Metrics that depend on what the run has at that moment (``changed``) go alone.
    """
    num_entries, num_metrics = 0, 0
    for entry in entries:
        if entry.kind != "metrics" or entry.send == "changed":
            break
        num_metrics += len(entry.content.get("values", ()))
        if num_entries and num_metrics > MAX_BATCH_METRICS:
            break
        num_entries += 1
    return entries[: max(1, num_entries)]


class RunWriter:
    """Writes to one run on a server; ``files`` is the folder of the files that entries name."""

    def __init__(self, client: "MlflowClient", run_id: str, files: Path) -> None:
        self.client = client
        self.run_id = run_id
        self.files = files
        self._steps: dict[str, set[int]] = {}
        """The steps that the run had of each metric when it was first asked."""

    def send(self, batch: Sequence[Entry]) -> None:
        """Send a batch as :func:`next_batch` gives it. Raises what MLflow raises.

        Raises :class:`KeyError` or :class:`ValueError` for an entry that can never be sent.
        """
        entry = batch[0]
        if entry.kind == "metrics":
            self._send_metrics(batch)
        elif entry.kind == "tags":
            self._send_tags(self._values_of(entry))
        elif entry.kind == "params":
            self._send_params(self._values_of(entry))
        elif entry.kind == "file":
            self._send_file(entry)
        elif entry.kind == "dataset":
            self._send_dataset(entry.content)
        elif entry.send == "always" or self._run().info.status == "RUNNING":
            self._send_status(entry.content)

    def timeout_s(self, entry: Entry) -> float:
        """How long the server is given to answer an entry's file; 0 for another entry."""
        from colorizer.base.file_transfer import transfer_timeout_s

        file = self.files / str(entry.content.get("file"))
        is_file = entry.kind == "file" and file.is_file()
        return transfer_timeout_s(file.stat().st_size) if is_file else 0.0

    def has_file(self, entry: Entry) -> bool:
        """Whether the run has an entry's file with these very bytes. Raises what MLflow raises."""
        file, folder = self.files / entry.content["file"], entry.content["folder"] or None
        artifacts = self.client.list_artifacts(self.run_id, folder)
        found = [each for each in artifacts if Path(each.path).name == file.name]
        if not found or found[0].file_size != file.stat().st_size:
            return False
        with tempfile.TemporaryDirectory() as temporary:
            stored = self.client.download_artifacts(self.run_id, found[0].path, temporary)
            return file_sha256(Path(stored)) == file_sha256(file)

    def _run(self) -> "Run":
        return self.client.get_run(self.run_id)

    def _values_of(self, entry: Entry) -> dict[str, Any]:
        """The tags or params of an entry that are to be sent."""
        if entry.send != "missing":
            return entry.content
        data = self._run().data
        known = data.tags if entry.kind == "tags" else data.params
        return {key: value for key, value in entry.content.items() if key not in known}

    def _send_metrics(self, batch: Sequence[Entry]) -> None:
        from mlflow.entities import Metric

        rows = [
            Metric(key, value, entry.content["time_ms"], entry.content["step"])
            for entry in batch
            for key, value in self._values_to_send(entry)
        ]
        if rows:
            self.client.log_batch(self.run_id, rows)

    def _values_to_send(self, entry: Entry) -> Iterator[tuple[str, float]]:
        values, step = entry.content["values"], entry.content["step"]
        known = self._run().data.metrics if entry.send == "changed" else {}
        for key, value in values.items():
            if entry.send == "missing" and step in self._steps_of(key):
                continue
            if known.get(key) != value:
                yield key, value

    def _steps_of(self, metric: str) -> set[int]:
        if metric not in self._steps:
            history = self.client.get_metric_history(self.run_id, metric)
            self._steps[metric] = {row.step for row in history}
        return self._steps[metric]

    def _send_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        if tags:
            self.client.log_batch(self.run_id, tags=[RunTag(*item) for item in tags.items()])

    def _send_params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        rows = [Param(key, str(value)) for key, value in params.items()]
        for start in range(0, len(rows), MAX_BATCH_PARAMS):
            self.client.log_batch(self.run_id, params=rows[start : start + MAX_BATCH_PARAMS])

    def _send_file(self, entry: Entry) -> None:
        file, folder = self.files / entry.content["file"], entry.content["folder"] or None
        if not file.is_file() or not file.resolve().is_relative_to(self.files.resolve()):
            raise ValueError(f"{file}: no such file in the journal")
        if entry.send == "missing":
            artifacts = self.client.list_artifacts(self.run_id, folder)
            if any(Path(artifact.path).name == file.name for artifact in artifacts):
                return
        self.client.log_artifact(self.run_id, str(file), folder)

    def _send_dataset(self, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag(key, value) for key, value in content["tags"].items()]
        self.client.log_inputs(self.run_id, [DatasetInput(Dataset(**content["dataset"]), tags)])

    def _send_status(self, content: Mapping[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            self.client.set_terminated(self.run_id, content["status"], end_time=content["time_ms"])
