"""Registering a small exported folder, as in a fresh clone that pulled the pipeline's outputs."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import onnx
import pytest
import requests

from colorizer.base.files import file_sha256, write_json
from colorizer.model.folder import compute_checksums
from pipeline_steps.base.errors import DataError, TrackingError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import (
    EXPORTED_MODEL,
    HISTORY,
)
from pipeline_steps.params import Params
from pipeline_steps.register import command
from pipeline_steps.tracking import mlflow_server, runs
from tests.pipeline_steps.register.outputs import NAME, REPOSITORY, read_versions

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def clone(outputs: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the outputs, and an empty MLflow database."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copytree(outputs, in_folder, dirs_exist_ok=True)
    return in_folder


def test_two_processes_register_once_and_print_one_line_each(clone: Path) -> None:
    """In real processes, as onnxruntime writes warnings directly to the file descriptor."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline_steps", "register"],
            cwd=clone,
            env=kept | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        printed = [process.communicate(timeout=280) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    assert sorted(printed) == [
        (f"register: {NAME} had this model already as version 1, alias candidate\n", ""),
        (f"register: {NAME} is now version 1, alias candidate\n", ""),
    ]
    assert read_versions() == [1]


def test_machines_that_register_at_the_same_time_keep_the_lowest_version(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_version = command.create_version
    monkeypatch.setattr(command, "machine_lock", lambda _: nullcontext())

    def create_after_another_machine(*arguments: Any) -> Any:
        monkeypatch.setattr(command, "create_version", create_version)
        command.main()
        assert read_versions() == [1]
        return create_version(*arguments)

    monkeypatch.setattr(command, "create_version", create_after_another_machine)
    command.main()
    assert read_versions() == [1]
    client = mlflow_server.connect()
    assert int(client.get_model_version_by_alias(NAME, "candidate").version) == 1
    assert capsys.readouterr().out == f"register: {NAME} is now version 1, alias candidate\n" * 2


def test_a_version_that_lost_its_files_gets_them_again(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main()
    stored = next((clone / "mlruns" / "models").glob("*/artifacts"))
    before = {path.name: file_sha256(path) for path in stored.rglob("*") if path.is_file()}
    shutil.rmtree(clone / "mlruns")
    capsys.readouterr()
    command.main()
    assert capsys.readouterr().out == (
        f"register: {NAME} had this model already as version 1, alias candidate;"
        " its files were gone and are stored again\n"
    )
    after = {path.name: file_sha256(path) for path in stored.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"MLmodel"}
    command.main()
    assert capsys.readouterr().out.endswith("version 1, alias candidate\n")


def test_another_model_file_becomes_another_version(clone: Path) -> None:
    command.main()
    model = onnx.load(EXPORTED_MODEL / "generator.onnx")
    model.doc_string = "another"
    onnx.save(model, EXPORTED_MODEL / "generator.onnx")
    write_json(EXPORTED_MODEL / "checksums.json", compute_checksums(EXPORTED_MODEL))
    command.main()
    assert sorted(read_versions()) == [1, 2]


def test_a_version_names_a_run_that_is_rebuilt_from_the_outputs(
    clone: Path, params: Params
) -> None:
    command.main()
    client = mlflow_server.connect()
    version = client.get_model_version_by_alias(NAME, "candidate")
    assert version.tags["model_sha256"] == file_sha256(EXPORTED_MODEL / "generator.onnx")
    assert version.tags["generator.l1"] == "0.1"
    assert version.tags["training"] == "t1"
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[runs.TRAINING_TAG] == "t1"
    assert run.data.tags[runs.ORIGIN_TAG] == f"http://elsewhere run {'0' * 32}"
    assert run.data.tags["data.train_sha256"] == "a" * 64
    assert run.data.params["train.batch_size"] == str(params.train.batch_size)
    history = client.get_metric_history(version.run_id, "val/l1")
    assert sorted((row.step, row.value) for row in history) == [(1, 0.5), (2, 0.25)]
    assert {name: value for name, value in run.data.metrics.items() if "l1" in name} == {
        **{"val/l1": 0.25, "test/l1": 0.1, "baseline/l1": 0.1}
    }
    assert run.data.metrics["val/best_epoch"] == 1
    evaluation = client.download_artifacts(version.run_id, "evaluation/evaluation.json")
    assert read_json(Path(evaluation))["copy_sketch"]["ssim"] == 0.9
    artifacts = {artifact.path for artifact in client.list_artifacts(version.run_id)}
    assert {"strips.png", "evaluation"} <= artifacts


def test_the_description_of_a_version_is_its_card_unless_somebody_wrote_one(clone: Path) -> None:
    command.main()
    client = mlflow_server.connect()

    def description() -> str:
        return str(client.get_model_version_by_alias(NAME, "candidate").description)

    assert description() == "# Card\n\n## Use\nColour.\n"
    client.update_model_version(NAME, "1", description="the one for scans")
    command.main()
    assert description() == "the one for scans"
    client.update_model_version(NAME, "1", description="")  # as earlier releases registered it
    command.main()
    assert description().startswith("# Card")


def test_a_damaged_history_is_refused_by_name(clone: Path) -> None:
    HISTORY.write_text("epoch,val_l1\n1,much\n")
    with pytest.raises(DataError, match=r"history\.csv: not a number"):
        command.main()
    assert read_versions() == []


@pytest.mark.parametrize(("status", "exit_code"), [(413, 1), (504, 75)])
def test_a_model_whose_files_cannot_be_sent_leaves_no_version(
    clone: Path, monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int
) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    log_artifacts: Any = LocalArtifactRepository.log_artifacts

    def reject_after_half(repository: Any, folder: str, *arguments: Any) -> None:
        log_artifacts(repository, folder, *arguments)
        response = requests.Response()
        response.status_code, response.url = status, "http://alice:word@tracking/model.onnx"
        raise requests.HTTPError("no", response=response)

    with monkeypatch.context() as rejecting:
        rejecting.setattr(LocalArtifactRepository, "log_artifacts", reject_after_half)
        with pytest.raises(TrackingError) as raised:
            command.main()
    assert raised.value.exit_code == exit_code
    text = str(raised.value)
    assert text.startswith(
        "the model isn't registered, no version was made: http://tracking/model.onnx answered"
        f" {status} "
    )
    assert "\n" not in text
    client = mlflow_server.connect()
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert client.search_registered_models() == []
    assert client.search_logged_models(experiments) == []
    assert [run.info.status for run in client.search_runs(experiments)] == ["FINISHED"]
    command.main()
    assert read_versions() == [1]
