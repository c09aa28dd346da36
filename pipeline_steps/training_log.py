"""A training's MLflow run: opened again when the training goes on, closed when it ends."""

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline_steps import tracking
from pipeline_steps.atomic import write_text
from pipeline_steps.pairs import PackedPairs
from pipeline_steps.params import Params, flatten
from pipeline_steps.run_file import TrainingRun
from pipeline_steps.strips import Picture

if TYPE_CHECKING:
    from mlflow import MlflowClient

PIPELINE_FILES = ("params.yaml", "dvc.yaml", "dvc.lock")
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "mlflow", "dvc")


class TrainingLog:
    """Logs a training; its run's id is kept in ``work_folder``, with the checkpoints."""

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
        self.id_file = work_folder / "run_id"
        self.training = training
        self.data = dict(data)
        self.run_id = ""

    @property
    def training_run(self) -> TrainingRun:
        """What the later stages need to find this run again."""
        return TrainingRun(
            run_id=self.run_id,
            training=self.training,
            tracking_uri=tracking.public_uri(tracking.tracking_uri()),
            data=self.data,
        )

    def __enter__(self) -> "TrainingLog":
        import mlflow

        experiment = self.params.tracking.experiment
        known = None
        if self.id_file.exists():
            known = tracking.find_run(
                self.client,
                experiment=experiment,
                run_id=self.id_file.read_text(encoding="utf-8"),
                training=self.training,
            )
        active = mlflow.start_run(
            run_id=known.info.run_id if known else None,
            experiment_id=None if known else tracking.experiment_id(self.client, experiment),
            log_system_metrics=True,
        )
        self.run_id = active.info.run_id
        write_text(self.id_file, self.run_id)
        if known is None:
            self._log_origin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import mlflow

        status = "FINISHED" if kind is None else "FAILED"
        mlflow.end_run("KILLED" if kind is KeyboardInterrupt else status)

    def _log_origin(self) -> None:
        import mlflow

        tags = tracking.git_tags() | {
            tracking.TRAINING_TAG: self.training,
            **{f"data.{split}_sha256": sha256 for split, sha256 in self.data.items()},
        }
        mlflow.set_tags(tags)
        tracking.log_params(self.client, self.run_id, flatten(self.params))
        mlflow.log_dict(environment(), "environment.json")
        for path in PIPELINE_FILES:
            if Path(path).exists():
                mlflow.log_artifact(path, "pipeline")

    def log_dataset(self, pairs: PackedPairs, context: str) -> None:
        """Log a packed split as a dataset input; its digest is the start of the file's sha256."""
        import mlflow
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.numpy_dataset import from_numpy

        name = pairs.path.stem
        source = CodeDatasetSource(tags={"path": str(pairs.path), "sha256": self.data[name]})
        dataset = from_numpy(
            pairs.pixels[:1], source=source, name=name, digest=self.data[name][:36]
        )
        mlflow.log_input(dataset, context=context, tags={"pairs": str(len(pairs))})

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch's row at step = epoch."""
        values = {key: value for key, value in row.items() if key != "epoch"}
        tracking.log_metrics(self.client, self.run_id, values, step=int(row["epoch"]))

    def log_missing_epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the rows this server lacks: those of a training that began on another server."""
        logged = {
            metric.step for metric in self.client.get_metric_history(self.run_id, "seen_images")
        }
        for row in history:
            if int(row["epoch"]) not in logged:
                self.log_epoch(row)

    def log_sample(self, epoch: int, picture: Picture) -> None:
        """Log the panel (sketch, truth, generated) at step = epoch."""
        import mlflow

        mlflow.log_image(picture, key="samples", step=epoch)

    def log_result(self, strips: Picture, *, best_epoch: int, epochs: int) -> None:
        """Log the strips and which epoch was the best."""
        import mlflow

        mlflow.log_image(strips, artifact_file="strips.png")
        tracking.log_metrics(self.client, self.run_id, {"best_epoch": best_epoch}, step=epochs)


def environment() -> dict[str, Any]:
    """Python, the packages that shape a training, and the device."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
