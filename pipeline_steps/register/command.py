"""The exported folder → a version of the registered model, under the alias ``candidate``.

Reads  models/{colorizer/,run.json}, metrics/evaluation.json, reports/{train,evaluate}/

Idempotent, keyed by the model file's sha256: run it again, from any clone that has the files,
against any MLflow server. Where the server doesn't know the training's run, one is made from the
files, tagged with where it came from.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256
from colorizer.base.pixels import to_model_range
from colorizer.model.folder import (
    CHECKED_FILES,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    ONNX_FILE,
    ModelFolder,
    open_model_folder,
)
from colorizer.model.registry import CONFIG_TAG, MODEL_TAG
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.json_and_csv import read_table
from pipeline_steps.base.paths import (
    EVALUATION_REPORT,
    EXPORTED_MODEL,
    HISTORY,
    RUN_FILE,
    STRIPS,
    TRAIN_WORK,
)
from pipeline_steps.params import Params, flatten, read_params
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.courier import deliver_waiting
from pipeline_steps.tracking.machine_lock import machine_lock
from pipeline_steps.tracking.run_file import TrainingRun, read_run_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE = "candidate"


def main() -> None:
    """Register the exported folder, unless this server has it already."""
    params = read_params()
    name = params.tracking.registered_model
    try:
        model = open_model_folder(EXPORTED_MODEL)
    except ModelFolderError as error:
        raise DataError(str(error)) from None
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        deliver_waiting(client, params.tracking.experiment, TRAIN_WORK)
        with machine_lock(client):
            version = find_registered(client, name, file_sha256(model.onnx_path))
            known = version is not None
            if version is None:
                training = read_run_file(RUN_FILE)
                version = register(client, params, model, training)
            client.set_registered_model_alias(name, CANDIDATE, str(version.version))
    state = "had this model already as" if known else "is now"
    print(f"register: {name} {state} version {version.version}, alias {CANDIDATE}")


def find_registered(client: "MlflowClient", name: str, model_sha256: str) -> "ModelVersion | None":
    """Find the version made from this very model file."""
    from mlflow.exceptions import MlflowException

    try:
        versions = client.search_model_versions(
            f"name = '{name}' and tags.{MODEL_TAG} = '{model_sha256}'"
        )
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return min(versions, key=lambda version: int(version.version)) if versions else None


def register(
    client: "MlflowClient", params: Params, model: ModelFolder, training: TrainingRun
) -> "ModelVersion":
    """Log the model to the training's run and register it as a version."""
    import mlflow

    run_id = find_or_import_run(client, params, model, training)
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        model_uri = log_model(model)
    source_tags = client.get_run(run_id).data.tags
    tags = version_tags(model, training, source_tags)
    client.set_tag(run_id, MODEL_TAG, tags[MODEL_TAG])
    return mlflow.register_model(model_uri, params.tracking.registered_model, tags=tags)


def find_or_import_run(
    client: "MlflowClient", params: Params, model: ModelFolder, training: TrainingRun
) -> str:
    """The id of the training's run on this server; made from the files where it has none."""
    experiment = params.tracking.experiment
    run = runs.find_run(
        client, experiment=experiment, run_id=training.run_id, training=training.training
    )
    if run is not None:
        return str(run.info.run_id)
    tags = runs.git_tags() | {
        runs.TRAINING_TAG: training.training,
        runs.ORIGIN_TAG: f"{training.tracking_uri} run {training.run_id}",
        "data.train_sha256": training.data["train"],
        "data.val_sha256": training.data["val"],
    }
    created = client.create_run(runs.experiment_id(client, experiment), tags=tags)
    run_id = str(created.info.run_id)
    runs.log_params(client, run_id, flatten(model.config["params"]))
    for step, values in read_history(HISTORY):
        runs.log_metrics(client, run_id, values, step=step)
    runs.log_evaluation(client, run_id, model.config["evaluation"], EVALUATION_REPORT)
    client.log_artifact(run_id, str(STRIPS))
    client.set_terminated(run_id)
    return run_id


def read_history(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (epoch, its other columns) from the history table."""
    for row in read_table(path, ("epoch",)).to_dict("records"):
        try:
            epoch = int(row.pop("epoch"))
            yield epoch, {str(key): float(value) for key, value in row.items()}
        except ValueError as error:
            raise DataError(f"{path}: not a number ({error}); `dvc repro` makes it") from None


def log_model(model: ModelFolder) -> str:
    """Log the ONNX file with signature, input example and the whole folder; return its URI."""
    import mlflow
    import onnx
    from mlflow.models import infer_signature

    size = model.image_size
    blank = np.full((1, 1, size, size), 255, np.float32)
    example = to_model_range(blank)
    output = np.zeros((1, 3, size, size), np.float32)
    logged = mlflow.onnx.log_model(
        onnx.load_model_from_string(model.read_onnx()),
        name="generator",
        signature=infer_signature({"sketch": example}, {"colour": output}),
        input_example={"sketch": example},
        pip_requirements=["onnxruntime>=1.22", "numpy>=2.2", "pillow>=12.3"],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
        extra_files=[
            (model.folder / name).resolve().as_uri()
            for name in (*CHECKED_FILES, CHECKSUMS_FILE)
            if name != ONNX_FILE
        ],
    )
    return str(logged.model_uri)


def version_tags(
    model: ModelFolder, training: TrainingRun, run_tags: dict[str, str]
) -> dict[str, str]:
    """Tags from which a version leads back to its commit, data, params and metrics."""
    evaluation = model.config["evaluation"]
    metrics = {
        f"{answer}.{metric}": f"{value:.6g}"
        for answer, by_metric in evaluation.items()
        if isinstance(by_metric, dict)
        for metric, value in by_metric.items()
    }
    return metrics | {
        MODEL_TAG: file_sha256(model.onnx_path),
        CONFIG_TAG: file_sha256(model.folder / CONFIG_FILE),
        "data_fingerprint": model.config["data"]["fingerprint"],
        "training": training.training,
        "git_commit": run_tags.get("mlflow.source.git.commit", "unknown"),
        "git_dirty": run_tags.get("git.dirty", "unknown"),
        "test_pairs": str(evaluation["test_pairs"]),
    }
