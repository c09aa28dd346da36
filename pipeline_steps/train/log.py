"""A training's log: appended to the run's journal, and delivered to MLflow in the background.

One run per training, continued when the training is resumed. Finding or making the run is the only
thing that waits for the server, before the first step.
"""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from colorizer.base.files import write_text
from pipeline_steps.pairs.train_split import TrainPairs
from pipeline_steps.params import Params, flatten
from pipeline_steps.tracking import mlflow_server, run_entries, runs
from pipeline_steps.tracking.delivery import (
    IDLE_LIMIT_S,
    INTERRUPTED_LIMIT_S,
    TOTAL_LIMIT_S,
    Delivery,
    print_undelivered,
    server_address,
)
from pipeline_steps.tracking.journal import RunJournal
from pipeline_steps.tracking.run_file import TrainingRun
from pipeline_steps.train.strips import Picture

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline_steps.tracking.system_metrics import SystemMetrics

PIPELINE_FILES = ("params.yaml", "dvc.yaml", "dvc.lock")
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "mlflow", "dvc")


class TrainingLog:
    """Logs a training to the journal in its work folder, named after its fingerprint."""

    def __init__(
        self,
        client: "MlflowClient",
        params: Params,
        *,
        work_folder: Path,
        data: Mapping[str, str],
        description: str = "",
    ) -> None:
        self.client = client
        self.params = params
        self.journal = RunJournal(work_folder)
        self.data = dict(data)
        self.description = description
        self._delivery: Delivery | None = None
        self._system_metrics: SystemMetrics | None = None

    @property
    def run_id(self) -> str:
        """The run's id on the server in use."""
        assert self._delivery is not None, "entered before"
        return self._delivery.run_id

    @property
    def training_run(self) -> TrainingRun:
        """What the later stages need to find this run again."""
        return self._training_run(self.run_id)

    def _training_run(self, run_id: str) -> TrainingRun:
        training, tags = self.journal.training, self.journal.first_tags
        return TrainingRun(
            run_id=run_id,
            training=training,
            tracking_uri=server_address(),
            data=self.data,
            # a training that is resumed keeps the name that it began with
            name=tags.get(runs.NAME_TAG) or runs.run_name(training),
            description=tags.get(runs.DESCRIPTION_TAG) or self.description,
        )

    def __enter__(self) -> "TrainingLog":
        from pipeline_steps.tracking.system_metrics import SystemMetrics

        experiment = self.params.tracking.experiment
        self._log_origin()
        with mlflow_server.plain_errors():
            self._delivery = Delivery.to_run_of(self.client, experiment, self.journal)
            if page := runs.run_page(self.client, experiment, self.run_id):
                print(f"train: MLflow run {page}", flush=True)
        run_entries.add_status(self.journal, "RUNNING")
        self._delivery.start()
        self._system_metrics = SystemMetrics(self._log_system_metrics)
        self._system_metrics.start()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._delivery is not None, "entered before"
        assert self._system_metrics is not None, "entered before"
        self._system_metrics.finish()
        is_interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        status = "KILLED" if is_interrupted else "FAILED" if kind else "FINISHED"
        run_entries.add_status(self.journal, status)
        limit_s = INTERRUPTED_LIMIT_S if kind else TOTAL_LIMIT_S
        self._delivery.finish(idle_limit_s=min(IDLE_LIMIT_S, limit_s), total_limit_s=limit_s)
        if queued := self._delivery.num_queued:
            print(
                f"train: {queued} entries wait for MLflow at {self._delivery.server}, which doesn't"
                " accept them; `python -m pipeline_steps deliver` sends them when it's back"
            )
        print_undelivered("train", self._delivery)

    def _log_origin(self) -> None:
        if not self.journal.has("origin"):
            tags = run_entries.origin_tags(self._training_run(run_id=""))
            self.journal.add("origin", "tags", tags)
        params = {key: str(value) for key, value in flatten(self.params).items()}
        self.journal.add("params", "params", params)
        if not self.journal.has("environment"):
            file = self.journal.files / "environment.json"
            write_text(file, json.dumps(environment(), indent=2))
            self.journal.add_file("environment", file)
        for path in map(Path, PIPELINE_FILES):
            if path.exists():
                self.journal.add_file(f"pipeline {path}", path, "pipeline")

    def log_dataset(self, pairs: TrainPairs, context: str) -> None:
        """Log a split as a dataset input; its digest is the start of its sha256."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.numpy_dataset import from_numpy
        from mlflow.entities import DatasetInput, InputTag

        name = pairs.name
        source = CodeDatasetSource(tags={"path": pairs.where, "sha256": self.data[name]})
        dataset = from_numpy(
            pairs.sample()[:1], source=source, name=name, digest=self.data[name][:36]
        )
        tags = [InputTag("mlflow.data.context", context), InputTag("pairs", str(len(pairs)))]
        entry = DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)
        self.journal.add(f"dataset {context}", "dataset", entry.to_dictionary())

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch's row at step = epoch; an epoch that is repeated is logged once."""
        run_entries.add_epoch(self.journal, row)

    def log_missing_epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that the journal lacks: it may be newer than the training."""
        for row in history:
            self.log_epoch(row)

    def log_sample(self, epoch: int, picture: Picture) -> None:
        """Log the panel (sketch, truth, generated) at step = epoch, where MLflow shows a series.

        The files are named as ``MlflowClient.log_image`` names them, but the name is fixed here.
        """
        from mlflow.tracking.multimedia import compress_image_size

        if self.journal.has(f"sample {epoch}"):
            return
        image = Image.fromarray(picture)
        name = f"samples+step+{epoch}+timestamp+{runs.now_ms()}+{uuid.uuid4()}"
        self.journal.files.mkdir(parents=True, exist_ok=True)
        whole = self.journal.files / f"{name}.png"
        small = self.journal.files / f"{name}+compressed.webp"
        image.save(whole)
        compress_image_size(image).save(small)
        self.journal.add_file(f"sample {epoch}", whole, "images")
        self.journal.add_file(f"small sample {epoch}", small, "images")
        self.journal.add("has samples", "tags", {"mlflow.loggedImages": "True"})

    def log_result(self, strips: Picture, *, best_epoch: int, epochs: int) -> None:
        """Log the strips and which epoch was the best."""
        if not self.journal.has("strips"):
            self.journal.files.mkdir(parents=True, exist_ok=True)
            file = self.journal.files / "strips.png"
            Image.fromarray(strips).save(file)
            self.journal.add_file("strips", file)
        run_entries.add_result(self.journal, best_epoch=best_epoch, epochs=epochs)

    def _log_system_metrics(self, values: dict[str, float]) -> None:
        step = sum(entry.key.startswith("system ") for entry in self.journal.entries)
        with suppress(OSError):  # not worth a training; other entries report a full disk
            run_entries.add_metrics(self.journal, f"system {step}", values, step=step)


def environment() -> dict[str, Any]:
    """Python, the packages that shape a training, and the device."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
