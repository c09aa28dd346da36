"""What MLflow is told of a training: said to an outbox, so that no server can hold a training up.

One run a training, opened again when the training goes on. Creating the run is the only thing that
waits for the server, before the first step.
"""

import json
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from colorizer.base.addresses import without_credentials
from colorizer.base.files import write_text
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.params import Params, flatten
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.courier import (
    IDLE_LIMIT_S,
    INTERRUPTED_LIMIT_S,
    TOTAL_LIMIT_S,
    Courier,
)
from pipeline_steps.tracking.outbox import Outbox
from pipeline_steps.tracking.run_file import TrainingRun
from pipeline_steps.train.strips import Picture

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline_steps.tracking.system_metrics import SystemMetrics

PIPELINE_FILES = ("params.yaml", "dvc.yaml", "dvc.lock")
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "mlflow", "dvc")


class TrainingLog:
    """Logs a training; its outbox and its run's id are kept in ``work_folder``."""

    def __init__(
        self,
        client: "MlflowClient",
        params: Params,
        *,
        work_folder: Path,
        training: str,
        data: Mapping[str, str],
    ) -> None:
        self.client = client
        self.params = params
        self.work_folder = work_folder
        self.outbox = Outbox(work_folder)
        self.training = training
        self.data = dict(data)
        self.run_id = ""
        self._courier: Courier | None = None
        self._system_metrics: SystemMetrics | None = None

    @property
    def training_run(self) -> TrainingRun:
        """What the later stages need to find this run again."""
        return TrainingRun(
            run_id=self.run_id,
            training=self.training,
            tracking_uri=without_credentials(mlflow_server.tracking_uri()),
            data=self.data,
        )

    def __enter__(self) -> "TrainingLog":
        from pipeline_steps.tracking.system_metrics import SystemMetrics

        experiment = self.params.tracking.experiment
        with mlflow_server.plain_errors():
            self.run_id = runs.open_run(
                self.client,
                experiment,
                training=self.training,
                work_folder=self.work_folder,
            )
            if page := runs.run_page(self.client, experiment, self.run_id):
                print(f"train: MLflow run {page}", flush=True)
        self._log_origin()
        self._courier = Courier(self.outbox, self.client, self.run_id)
        self._courier.start()
        self._system_metrics = SystemMetrics(self._log_system_metrics)
        self._system_metrics.start()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._courier is not None, "entered before"
        assert self._system_metrics is not None, "entered before"
        self._system_metrics.finish()
        is_interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        status = "KILLED" if is_interrupted else "FAILED" if kind else "FINISHED"
        ended = {"status": status, "time_ms": _now_ms()}
        self.outbox.add(f"status {len(self.outbox.entries)}", "status", ended)
        limit_s = INTERRUPTED_LIMIT_S if kind else TOTAL_LIMIT_S
        left = self._courier.finish(idle_limit_s=min(IDLE_LIMIT_S, limit_s), total_limit_s=limit_s)
        if left:
            print(
                f"train: {left} entries wait for MLflow at {self._courier.server}, which doesn't"
                " take them; `python -m pipeline_steps deliver` sends them when it's back"
            )
        for reason in self._courier.refused:
            print(f"train: MLflow refused an entry for good ({reason})")

    def _log_origin(self) -> None:
        tags = runs.git_tags() | {
            runs.TRAINING_TAG: self.training,
            **{f"data.{split}_sha256": sha256 for split, sha256 in self.data.items()},
        }
        self.outbox.add("origin", "tags", tags)
        params = {key: str(value) for key, value in flatten(self.params).items()}
        self.outbox.add("params", "params", params)
        if not self.outbox.has("environment"):
            file = self.outbox.files / "environment.json"
            write_text(file, json.dumps(environment(), indent=2))
            self.outbox.add_file("environment", file)
        for path in map(Path, PIPELINE_FILES):
            if path.exists():
                self.outbox.add_file(f"pipeline {path}", path, "pipeline")

    def log_dataset(self, pairs: PackedPairs, context: str) -> None:
        """Log a packed split as a dataset input; its digest is the start of the file's sha256."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.numpy_dataset import from_numpy
        from mlflow.entities import DatasetInput, InputTag

        name = pairs.path.stem
        source = CodeDatasetSource(tags={"path": str(pairs.path), "sha256": self.data[name]})
        dataset = from_numpy(
            pairs.pixels[:1], source=source, name=name, digest=self.data[name][:36]
        )
        tags = [InputTag("mlflow.data.context", context), InputTag("pairs", str(len(pairs)))]
        entry = DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)
        self.outbox.add(f"dataset {context}", "dataset", entry.to_dictionary())

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch's row at step = epoch; an epoch that is repeated is logged once."""
        values = {key: value for key, value in row.items() if key != "epoch"}
        self._log_metrics(f"epoch {row['epoch']:.0f}", values, step=int(row["epoch"]))

    def log_missing_epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the rows that were never logged: the outbox may be younger than the training."""
        for row in history:
            self.log_epoch(row)

    def log_sample(self, epoch: int, picture: Picture) -> None:
        """Log the panel (sketch, truth, generated) at step = epoch, where MLflow shows a series.

        The files are named as ``MlflowClient.log_image`` names them, but once and for all.
        """
        from mlflow.tracking.multimedia import compress_image_size

        if self.outbox.has(f"sample {epoch}"):
            return
        image = Image.fromarray(picture)
        name = f"samples+step+{epoch}+timestamp+{_now_ms()}+{uuid.uuid4()}"
        self.outbox.files.mkdir(parents=True, exist_ok=True)
        whole = self.outbox.files / f"{name}.png"
        small = self.outbox.files / f"{name}+compressed.webp"
        image.save(whole)
        compress_image_size(image).save(small)
        self.outbox.add_file(f"sample {epoch}", whole, "images")
        self.outbox.add_file(f"small sample {epoch}", small, "images")
        self.outbox.add("has samples", "tags", {"mlflow.loggedImages": "True"})

    def log_result(self, strips: Picture, *, best_epoch: int, epochs: int) -> None:
        """Log the strips and which epoch was the best."""
        if not self.outbox.has("strips"):
            self.outbox.files.mkdir(parents=True, exist_ok=True)
            file = self.outbox.files / "strips.png"
            Image.fromarray(strips).save(file)
            self.outbox.add_file("strips", file)
        self._log_metrics("result", {"best_epoch": best_epoch}, step=epochs)

    def _log_system_metrics(self, values: dict[str, float]) -> None:
        step = sum(entry.key.startswith("system ") for entry in self.outbox.entries)
        with suppress(OSError):  # they are worth no training; a full disk is told by the rest
            self._log_metrics(f"system {step}", values, step=step)

    def _log_metrics(self, key: str, values: Mapping[str, float], step: int) -> None:
        content = {"values": dict(values), "step": step, "time_ms": _now_ms()}
        self.outbox.add(key, "metrics", content)


def _now_ms() -> int:
    return int(time.time() * 1000)


def environment() -> dict[str, Any]:
    """Python, the packages that shape a training, and the device."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
