"""The training's MLflow run, on SQLite in a temporary folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.params import Params, flatten
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.train.log import TrainingLog

DATA = {"train": "a" * 64, "val": "b" * 64}

# warnings of MLflow and its dependencies
pytestmark = pytest.mark.filterwarnings("default")


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "seen_images": 10.0 * epoch, "val_l1": 1.0 / epoch}


@pytest.fixture
def open_log(
    in_folder: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], TrainingLog]:
    """Open the log of one training with the server (a database) of this name."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    work_folder = in_folder / "t1"
    work_folder.mkdir()

    def open_log(server: str) -> TrainingLog:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{in_folder / server}.db")
        client = mlflow_server.connect()
        return TrainingLog(client, params, work_folder=work_folder, data=DATA)

    return open_log


def interrupt_after_one_epoch(log: TrainingLog, pairs: PackedPairs) -> None:
    with log:
        log.log_dataset(pairs, "training")
        log.log_epoch(row(1))
        raise KeyboardInterrupt


def steps(log: TrainingLog) -> list[int]:
    return [metric.step for metric in log.client.get_metric_history(log.run_id, "val/l1")]


def test_a_resumed_training_keeps_its_run_and_another_server_gets_all_entries(
    open_log: Callable[[str], TrainingLog],
    in_folder: Path,
    params: Params,
    make_pairs: Callable[..., PackedPairs],
) -> None:
    first = open_log("one")
    with pytest.raises(KeyboardInterrupt):
        interrupt_after_one_epoch(first, make_pairs("train", 2))
    assert first.client.get_run(first.run_id).info.status == "KILLED"

    with open_log("one") as second:
        second.log_epoch(row(2))
        second.log_missing_epochs([row(1), row(2)])
        second.log_result(np.zeros((4, 4, 3), np.uint8), best_epoch=2, epochs=2)
    assert second.run_id == first.run_id
    assert steps(second) == [1, 2]

    run = second.client.get_run(second.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {key: str(value) for key, value in flatten(params).items()}
    assert run.data.tags["data.train_sha256"] == DATA["train"]
    assert run.inputs is not None
    (dataset_input,) = run.inputs.dataset_inputs
    assert dataset_input.dataset.digest == DATA["train"][:36]
    assert second.training_run.run_id == first.run_id

    with open_log("two") as elsewhere:
        elsewhere.log_missing_epochs([row(1), row(2)])
    assert elsewhere.run_id != first.run_id
    assert steps(elsewhere) == [1, 2]
    moved = elsewhere.client.get_run(elsewhere.run_id)
    assert moved.data.tags[runs.ORIGIN_TAG] == f"sqlite:///{in_folder}/one.db run {first.run_id}"
    assert moved.info.status == "FINISHED"


def test_the_status_of_the_run_is_the_outcome_of_the_training(
    open_log: Callable[[str], TrainingLog],
) -> None:
    with pytest.raises(ZeroDivisionError), open_log("one") as log:
        raise ZeroDivisionError
    assert log.client.get_run(log.run_id).info.status == "FAILED"
    with open_log("one") as log:
        pass
    run = log.client.get_run(log.run_id)
    assert run.info.status == "FINISHED"
    ended = [entry for entry in log.journal.entries if entry.kind == "status"]
    assert [entry.content["status"] for entry in ended] == [
        *("RUNNING", "FAILED", "RUNNING", "FINISHED")
    ]
    assert run.info.end_time == ended[-1].content["time_ms"]
