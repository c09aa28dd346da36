"""The exported folder → a version of the registered model, under the alias ``candidate``.

Reads  models/{colorizer/,run.json}, reports/{train,evaluate}/; with ``--from``, a model that was
trained elsewhere: what ``python -m pipeline_steps bundle`` wrote, an exported folder or its zip

Idempotent, keyed by the model file's sha256: run it again, from any clone that has the files,
against any MLflow server. A run that the server doesn't know is rebuilt from the files, tagged with
where it came from.

Processes of one machine take turns (a file lock). Machines that register the same model at the same
time need no lock: the server numbers the versions, and the lowest is kept.
"""

import argparse
import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from colorizer.base.files import file_sha256
from colorizer.base.pixels import HINT_CHANNELS, to_model_range
from colorizer.model.folder import (
    CARD_FILE,
    CHECKED_FILES,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    HINTS_NAME,
    INPUT_NAME,
    ONNX_FILE,
    OUTPUT_NAME,
    ModelFolder,
)
from colorizer.model.registry import CONFIG_TAG, MODEL_TAG
from pipeline_steps.base.errors import DataError, TrackingError
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
from pipeline_steps.register.bundle import Bundle, open_bundle, open_exported
from pipeline_steps.scores.definitions import BASELINES, GENERATOR, measured
from pipeline_steps.scores.table import best_baseline, generator_metrics
from pipeline_steps.tracking import mlflow_server, run_entries, runs
from pipeline_steps.tracking.delivery import bring_up_to_date, deliver_waiting, print_undelivered
from pipeline_steps.tracking.journal import RunJournal
from pipeline_steps.tracking.machine_lock import machine_lock
from pipeline_steps.tracking.run_file import read_run_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE = "candidate"
MAX_DESCRIPTION_CHARS = 5000
_PICTURE = re.compile(r"^!\[.*\n\n?", re.MULTILINE)
_ORT_WARNING, _ORT_ERROR = 2, 3


def main() -> None:
    """Register the exported folder, unless this server has it already."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps register",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", type=Path, dest="path", metavar="PATH", help="a zip or a folder")
    path = parser.parse_args().path
    params = read_params()
    mlflow_server.require_reachable()
    if path is None:
        register_once(params, open_exported(EXPORTED_MODEL))
        return
    with open_bundle(path) as bundle:
        print(f"register: {path}: {bundle.describe()}")
        register_once(params, bundle.model, bundle)


def register_once(params: Params, model: ModelFolder, bundle: Bundle | None = None) -> None:
    """Register a model, unless this server has it already, and make it the candidate."""
    name = params.tracking.registered_model
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        mlflow_server.require_artifact_store(client, params.tracking.experiment)
        deliver_waiting(client, params.tracking.experiment, TRAIN_WORK, command="register")
        with machine_lock(client):
            version = find_registered(client, name, file_sha256(model.onnx_path))
            is_known = version is not None
            is_restored = version is not None and not has_files(version)
            if version is None:
                version = register(client, params, model, bundle)
            elif is_restored:
                restore_files(client, version, model)
            describe(client, version, model)
            client.set_registered_model_alias(name, CANDIDATE, str(version.version))
    state = "had this model already as" if is_known else "is now"
    again = "; its files were gone and are stored again" if is_restored else ""
    print(f"register: {name} {state} version {version.version}, alias {CANDIDATE}{again}")


def find_registered(client: "MlflowClient", name: str, model_sha256: str) -> "ModelVersion | None":
    """Find the lowest version with this model file; None if there is none."""
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


def has_files(version: "ModelVersion") -> bool:
    """Whether the artifact store has a version's files."""
    import mlflow

    stored = mlflow.artifacts.list_artifacts(f"models:/{version.name}/{version.version}")
    return {"model.onnx", "extra_files"} <= {Path(file.path).name for file in stored}


def restore_files(client: "MlflowClient", version: "ModelVersion", model: ModelFolder) -> None:
    """Store a version's files again, at their address.

    Raises :class:`TrackingError` if the folder's config isn't the registered one.
    """
    import mlflow
    from mlflow.models import Model

    # `models:/m-…`, as :func:`log_model` returned it
    model_id = str(version.source).removeprefix("models:/")
    registered = dict(version.tags).get(CONFIG_TAG)
    if not model_id.startswith("m-") or registered != file_sha256(model.folder / CONFIG_FILE):
        raise TrackingError(
            f"{version.name} version {version.version} has lost its files, and {model.folder} has"
            " its model with another config.json; put its files back from a backup, or delete the"
            " version in MLflow and run the same command again"
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        header = Model(run_id=version.run_id, model_id=model_id)
        with quiet_onnxruntime():
            mlflow.onnx.save_model(path=folder, mlflow_model=header, **logged_contents(model))
        client.log_model_artifacts(model_id, str(folder))


def register(
    client: "MlflowClient", params: Params, model: ModelFolder, bundle: Bundle | None = None
) -> "ModelVersion":
    """Bring the training's run up to date, log the model to it and make it a version."""
    if bundle:
        journal = bundle_journal(bundle)
        add_outputs(journal, model, *bundle.files())
    else:
        journal = run_entries.open_journal(TRAIN_WORK, read_run_file(RUN_FILE))
        add_outputs(journal, model, HISTORY, STRIPS, EVALUATION_REPORT)
    delivery = bring_up_to_date(client, params.tracking.experiment, journal)
    print_undelivered("register", delivery)
    model_uri = log_whole_model(client, delivery.run_id, model)
    tags = version_tags(model, journal.training, client.get_run(delivery.run_id).data.tags)
    if bundle:
        tags[runs.ORIGIN_TAG] = bundle.origin
    client.set_tag(delivery.run_id, MODEL_TAG, tags[MODEL_TAG])
    return create_version(client, params.tracking.registered_model, model_uri, tags)


def bundle_journal(bundle: Bundle) -> RunJournal:
    """The journal of a run for a model that was trained elsewhere, with where it comes from.

    The run is this model's alone: a training with the same fingerprint here is another one.
    """
    journal = RunJournal(TRAIN_WORK / f"imported-{file_sha256(bundle.model.onnx_path)[:16]}")
    tags = {
        runs.COMMIT_TAG: "unknown",  # not the commit of this clone
        runs.DIRTY_TAG: "unknown",
        **bundle.git,
        runs.TRAINING_TAG: journal.training,
        runs.ORIGIN_TAG: bundle.origin,
    }
    journal.add("rebuilt origin", "tags", tags)
    run_entries.add_status(journal, "FINISHED", send="missing")
    return journal


def add_outputs(
    journal: RunJournal,
    model: ModelFolder,
    history: Path | None,
    strips: Path | None,
    report: Path | None,
) -> None:
    """Append params, history, result and reports; what the run has on the server is kept.

    Files that are None were not kept with a model that was trained elsewhere.
    """
    params = {key: str(value) for key, value in flatten(model.config["params"]).items()}
    journal.add("rebuilt params", "params", params, send="missing")
    for row in read_history(history) if history else ():
        run_entries.add_epoch(journal, row, send="missing")
    training = model.config["training"]
    run_entries.add_result(
        journal, best_epoch=training["best_epoch"], epochs=training["epochs"], send="missing"
    )
    if strips:
        journal.add_file("strips", strips, send="missing")
    if not journal.revisions(run_entries.EVALUATION):
        evaluation = model.config["evaluation"]
        run_entries.add_evaluation(
            journal,
            evaluation,
            report,
            generator=generator_metrics(evaluation),
            baseline=best_baseline(evaluation),
            send="missing",
        )


def create_version(
    client: "MlflowClient", name: str, model_uri: str, tags: dict[str, str]
) -> "ModelVersion":
    """Make a logged model a version; return the lowest version with its model file.

    Where another machine registered the same file meanwhile, the version made here is deleted.
    """
    import mlflow

    with contextlib.redirect_stderr(io.StringIO()):  # it prints what `main` prints
        made = mlflow.register_model(model_uri, name, tags=tags)
    first = find_registered(client, name, tags[MODEL_TAG]) or made
    if int(first.version) < int(made.version):
        client.delete_model_version(name, str(made.version))
        return first
    return made


def describe(client: "MlflowClient", version: "ModelVersion", model: ModelFolder) -> None:
    """Make the model's card the version's description, unless somebody wrote one.

    Without its pictures, which MLflow's pages can't show, and as long as MLflow accepts.
    """
    if version.description:
        return
    card = _PICTURE.sub("", (model.folder / CARD_FILE).read_text(encoding="utf-8"))
    client.update_model_version(
        version.name, str(version.version), description=card[:MAX_DESCRIPTION_CHARS]
    )


def read_history(path: Path) -> Iterator[dict[str, float]]:
    """Yield the rows of the history table. Raises :class:`DataError` if it's damaged."""
    for row in read_table(path, ("epoch",)).to_dict("records"):
        try:
            yield {str(key): float(value) for key, value in row.items()}
        except ValueError as error:
            raise DataError(f"{path}: not a number ({error}); `dvc repro` makes it") from None


@contextlib.contextmanager
def quiet_onnxruntime() -> Iterator[None]:
    """Silence onnxruntime's warnings of inputs that have a default, as the noise inputs have."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ORT_ERROR)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_ORT_WARNING)


def log_whole_model(client: "MlflowClient", run_id: str, model: ModelFolder) -> str:
    """Log the model to a run; return its URI. If a file can't be sent, nothing of it is left.

    The run keeps its status. Raises :class:`TrackingError`.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    failure: Exception | None = None
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        try:
            return log_model(model)
        except (MlflowException, RequestException) as error:  # left by it, the run would be FAILED
            failure = error
            with contextlib.suppress(MlflowException, RequestException):
                part = mlflow.last_logged_model()
                if part and part.source_run_id == run_id and str(part.status) != "READY":
                    client.delete_logged_model(part.model_id)
    assert failure is not None
    plain = mlflow_server.plain_error(failure)
    raise type(plain)(f"the model isn't registered, no version was made: {plain}") from None


def log_model(model: ModelFolder) -> str:
    """Log the ONNX file with signature, input example and the whole folder; return its URI."""
    import mlflow

    with quiet_onnxruntime():  # MLflow runs the example in a session with default options
        logged = mlflow.onnx.log_model(name="generator", **logged_contents(model))
    return str(logged.model_uri)


def logged_contents(model: ModelFolder) -> dict[str, Any]:
    """The arguments with which MLflow stores a model."""
    import onnx
    from mlflow.models import infer_signature

    size = model.image_size
    blank = np.full((1, 1, size, size), 255, np.float32)
    example = {INPUT_NAME: to_model_range(blank)}
    if model.takes_hints:
        example[HINTS_NAME] = np.zeros((1, HINT_CHANNELS, size, size), np.float32)
    output = np.zeros((1, 3, size, size), np.float32)
    return {
        "onnx_model": onnx.load_model_from_string(model.read_onnx()),
        "signature": infer_signature(example, {OUTPUT_NAME: output}),
        "input_example": example,
        "pip_requirements": ["onnxruntime>=1.22", "numpy>=2.2", "pillow>=12.3"],
        "onnx_execution_providers": ["CPUExecutionProvider"],
        "save_as_external_data": False,
        "extra_files": [
            (model.folder / name).resolve().as_uri()
            for name in (*CHECKED_FILES, CHECKSUMS_FILE)
            if name != ONNX_FILE
        ],
    }


def version_tags(model: ModelFolder, training: str, run_tags: dict[str, str]) -> dict[str, str]:
    """Tags from which a version leads back to its commit, data, params and metrics."""
    evaluation = model.config["evaluation"]
    metrics = {
        f"{method}.{metric}": f"{evaluation[method][metric]:.6g}"
        for method in (GENERATOR, *BASELINES)
        for metric in measured(evaluation[method])
    }
    return metrics | {
        MODEL_TAG: file_sha256(model.onnx_path),
        CONFIG_TAG: file_sha256(model.folder / CONFIG_FILE),
        "data_fingerprint": model.config["data"]["fingerprint"],
        "training": training,
        "git_commit": run_tags.get(runs.COMMIT_TAG, "unknown"),
        "git_dirty": run_tags.get(runs.DIRTY_TAG, "unknown"),
        "test_pairs": str(evaluation["test_pairs"]),
    }
