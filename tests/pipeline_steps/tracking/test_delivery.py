"""The journal and its delivery to a slow, unavailable or rejecting server."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_steps.base.errors import TrackingUnreachableError
from pipeline_steps.tracking import delivery as delivery_module
from pipeline_steps.tracking import mlflow_server, run_entries, runs
from pipeline_steps.tracking.delivery import Delivery, bring_up_to_date, deliver_waiting
from pipeline_steps.tracking.journal import Entry, RunJournal
from pipeline_steps.tracking.run_file import TrainingRun
from pipeline_steps.tracking.run_writer import RunWriter, next_batch

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings("default")


def metrics(step: int, **values: float) -> dict[str, Any]:
    return {"values": values, "step": step, "time_ms": 1000 + step}


def fill(journal: RunJournal, num_epochs: int) -> None:
    for step in range(num_epochs):
        journal.add(f"epoch {step}", "metrics", metrics(step, val_l1=0.5))


class Server:
    """Accepts entries or fails, as the test sets it."""

    def __init__(self) -> None:
        self.is_up = True
        self.taken: list[str] = []

    def take(self, batch: Sequence[Entry]) -> None:
        if not self.is_up:
            raise ConnectionError("gone")
        self.taken += [entry.key for entry in batch]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(RunWriter, "send", lambda _, batch: server.take(batch))
    monkeypatch.setattr(delivery_module, "RETRY_S", 0.01)
    return server


def test_entries_are_persistent_and_each_key_is_added_once(tmp_path: Path) -> None:
    journal = RunJournal(tmp_path)
    fill(journal, 3)
    journal.add("epoch 1", "metrics", metrics(1, val_l1=9.0))
    again = RunJournal(tmp_path)
    assert [entry.key for entry in again.entries] == ["epoch 0", "epoch 1", "epoch 2"]
    assert again.entries[1].content["values"] == {"val_l1": 0.5}
    assert again.has("epoch 2")


def test_a_truncated_last_line_is_dropped(tmp_path: Path) -> None:
    fill(RunJournal(tmp_path), 2)
    path = tmp_path / "outbox" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    journal = RunJournal(tmp_path)
    assert [entry.key for entry in journal.entries] == ["epoch 0"]
    fill(journal, 2)
    assert [entry.key for entry in RunJournal(tmp_path).entries] == ["epoch 0", "epoch 1"]


@pytest.mark.parametrize("line", [b"[1]\n", b'{"key": 1}\n', b"\x80\x04\n", b"[" * 9999 + b"\n"])
def test_a_damaged_journal_is_read_up_to_the_damage(tmp_path: Path, line: bytes) -> None:
    fill(RunJournal(tmp_path), 2)
    path = tmp_path / "outbox" / "journal.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + second)
    with pytest.warns(UserWarning, match="damaged after 1 entries"):
        journal = RunJournal(tmp_path)
    assert [entry.key for entry in journal.entries] == ["epoch 0"]
    fill(journal, 2)
    assert [entry.key for entry in RunJournal(tmp_path).entries] == ["epoch 0", "epoch 1"]


def test_reading_a_journal_keeps_a_line_that_is_being_written(tmp_path: Path) -> None:
    fill(RunJournal(tmp_path), 2)
    path = tmp_path / "outbox" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert RunJournal(tmp_path).is_waiting()
    with path.open("ab") as file:
        file.write(whole[-9:])
    assert [entry.key for entry in RunJournal(tmp_path).entries] == ["epoch 0", "epoch 1"]


def test_the_delivered_position_is_kept_for_one_server_and_run(tmp_path: Path) -> None:
    journal = RunJournal(tmp_path)
    assert not journal.is_waiting()
    fill(journal, 3)
    assert journal.is_waiting()
    journal.mark_delivered("http://a", "run", 3)
    assert journal.count_delivered("http://a", "run") == 3
    assert journal.count_delivered("http://b", "run") == 0
    assert journal.count_delivered("http://a", "other") == 0
    assert not journal.is_waiting()
    for damaged in ("", "[]", '{"server": "http://a", "run": "run", "entries": "x"}'):
        (tmp_path / "outbox" / "delivered.json").write_text(damaged)
        assert journal.count_delivered("http://a", "run") == 0
        assert journal.is_waiting()


def test_metrics_are_sent_in_batches_and_in_order_with_other_entries() -> None:
    entries = [
        Entry(key=str(n), kind="metrics", content=metrics(n, **{f"m{i}": 0.0 for i in range(400)}))
        for n in range(3)
    ]
    tags = Entry(key="t", kind="tags", content={})
    assert len(next_batch(entries)) == 2
    assert len(next_batch([entries[0], tags, entries[1]])) == 1
    assert next_batch([tags, tags]) == [tags]
    assert next_batch([]) == []
    changed = Entry(key="c", kind="metrics", content=metrics(0, a=1.0), send="changed")
    assert next_batch([entries[0], changed]) == [entries[0]]
    assert next_batch([changed, entries[0]]) == [changed]


def test_an_unavailable_server_gets_all_entries_in_order_when_it_is_back(
    tmp_path: Path, server: Server
) -> None:
    journal = RunJournal(tmp_path)
    delivery = Delivery(None, journal, "run")  # type: ignore[arg-type]
    server.is_up = False
    delivery.start()
    fill(journal, 5)
    journal.add("tags", "tags", {"a": "b"})
    assert server.taken == []
    server.is_up = True
    assert delivery.finish(idle_limit_s=60, total_limit_s=60) == 0
    assert server.taken == [*(f"epoch {n}" for n in range(5)), "tags"]


def test_closing_waits_only_while_entries_are_delivered(tmp_path: Path, server: Server) -> None:
    journal = RunJournal(tmp_path)
    fill(journal, 3)
    server.is_up = False
    delivery = Delivery(None, journal, "run")  # type: ignore[arg-type]
    delivery.start()
    assert delivery.finish(idle_limit_s=0.2, total_limit_s=3600) == 3
    assert RunJournal(tmp_path).is_waiting()


def test_closing_does_not_wait_for_a_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(RunWriter, "send", lambda *_: release.wait(30))
    journal = RunJournal(tmp_path)
    fill(journal, 1)
    delivery = Delivery(None, journal, "run")  # type: ignore[arg-type]
    delivery.start()
    try:
        assert delivery.finish(idle_limit_s=0.2, total_limit_s=3600) == 1
    finally:
        release.set()


def test_a_rejected_entry_does_not_block_later_ones_or_its_batch(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(_: RunWriter, batch: Sequence[Entry]) -> None:
        if any(entry.key in ("bad", "epoch 1") for entry in batch):
            raise KeyError("no such thing")
        server.take(batch)

    monkeypatch.setattr(RunWriter, "send", send)
    journal = RunJournal(tmp_path)
    journal.add("bad", "tags", {})
    fill(journal, 3)
    delivery = Delivery(None, journal, "run")  # type: ignore[arg-type]
    delivery.start()
    assert delivery.finish(idle_limit_s=60, total_limit_s=60) == 0
    assert server.taken == ["epoch 0", "epoch 2"]
    assert [reason.split(":")[0] for reason in delivery.rejected] == ["bad", "epoch 1"]


def test_an_entry_sent_twice_is_stored_once(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between sending an entry and recording its delivery."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    client = mlflow_server.connect()
    folder = in_folder / "t1"
    folder.mkdir()
    journal = RunJournal(folder)
    journal.add("params", "params", {"train.epochs": "3"})
    fill(journal, 3)
    file = in_folder / "strips.png"
    file.write_bytes(b"picture")
    journal.add_file("strips", file, "pictures")
    journal.add("status", "status", {"status": "FINISHED", "time_ms": 5000})
    for _ in range(2):
        run_id = bring_up_to_date(client, "e", journal).run_id
        journal.mark_delivered("", "", 0)
    history = client.get_metric_history(run_id, "val_l1")
    assert [metric.step for metric in history] == [0, 1, 2]
    assert [artifact.path for artifact in client.list_artifacts(run_id, "pictures")] == [
        "pictures/strips.png"
    ]
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 5000)
    assert run.data.params == {"train.epochs": "3"}


def test_the_command_delivers_each_entry_once(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = in_folder / "work" / "t1"
    folder.mkdir(parents=True)
    fill(RunJournal(folder), 3)
    client = mlflow_server.connect()
    deliver_waiting(client, "e", in_folder / "work", command="deliver")
    mark = json.loads((folder / "outbox" / "delivered.json").read_text())
    assert mark["entries"] == 3
    expected = f"deliver: run {mark['run']} of training t1 is up to date\n"
    assert capsys.readouterr().out == expected
    assert len(client.get_metric_history(mark["run"], "val_l1")) == 3
    deliver_waiting(client, "e", in_folder / "work", command="deliver")
    assert capsys.readouterr().out == ""


def test_a_server_that_fails_during_a_delivery_is_reported(
    in_folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(delivery_module, "IDLE_LIMIT_S", 0.1)
    folder = in_folder / "work" / "t1"
    folder.mkdir(parents=True)
    fill(RunJournal(folder), 2)
    server.is_up = False
    with pytest.raises(TrackingUnreachableError, match="2 of 2 entries of training t1 wait"):
        deliver_waiting(mlflow_server.connect(), "e", in_folder / "work", command="deliver")


def test_tags_and_params_are_kept_without_secrets(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-word")
    journal = RunJournal(in_folder / "t1")
    journal.add("tags", "tags", {"origin": "https://me:canary-word@host/x", "told": "canary-word"})
    journal.add("params", "params", {"download.path": "canary-word.zip", "epochs": "3"})
    text = "".join(path.read_text() for path in in_folder.rglob("*.jsonl"))
    assert "canary-word" not in text
    assert journal.first_tags == {"origin": "https://host/x", "told": "***"}
    assert journal.entries[1].content == {"download.path": "***.zip", "epochs": "3"}


EVALUATION: dict[str, Any] = {"generator": {"l1": 0.1}, "white": {"l1": 0.3}, "test_pairs": 6}
BASELINE = {"l1": 0.3}
TRAINED_ELSEWHERE = TrainingRun(
    run_id="0" * 32, training="t1", tracking_uri="http://elsewhere", data={"train": "a", "val": "b"}
)


@pytest.fixture
def connect_to(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], "MlflowClient"]:
    """Connect to the server (a database) of this name."""
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def connect_to(server: str) -> "MlflowClient":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{in_folder / server}.db")
        return mlflow_server.connect()

    return connect_to


def write_report(folder: Path, text: str) -> Path:
    report = folder / "report"
    report.mkdir(exist_ok=True)
    (report / "per_picture.csv").write_text(text)
    return report


def read_values(client: "MlflowClient", run_id: str, metric: str) -> list[float]:
    rows = client.get_metric_history(run_id, metric)
    return [row.value for row in sorted(rows, key=lambda row: row.timestamp)]


def read_report(client: "MlflowClient", run_id: str) -> str:
    return Path(client.download_artifacts(run_id, "evaluation/per_picture.csv")).read_text()


def trained(folder: Path) -> RunJournal:
    """The journal of a training of three epochs that has finished."""
    journal = RunJournal(folder / "t1")
    run_entries.add_status(journal, "RUNNING")
    journal.add("params", "params", {"train.epochs": "3"})
    fill(journal, 3)
    run_entries.add_status(journal, "FINISHED")
    return journal


def test_the_last_evaluation_is_the_current_one_even_if_its_values_are_not_new(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    client, journal = connect_to("a"), trained(in_folder)
    report = write_report(in_folder, "1")
    run_entries.add_evaluation(
        journal, EVALUATION, report, generator=EVALUATION["generator"], baseline=BASELINE
    )
    run_id = bring_up_to_date(client, "e", journal).run_id
    training = TrainingRun(run_id=run_id, training="t1", tracking_uri="elsewhere", data={})
    other = run_entries.open_journal(in_folder / "another clone", training)
    for evaluation in (EVALUATION | {"generator": {"l1": 0.05}}, EVALUATION):
        run_entries.add_evaluation(
            other, evaluation, report, generator=evaluation["generator"], baseline=BASELINE
        )
    bring_up_to_date(client, "e", other)
    assert read_values(client, run_id, "test/l1") == [0.1, 0.05, 0.1]


def test_only_files_of_the_journals_folder_are_sent(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    client, journal = connect_to("a"), trained(in_folder)
    (in_folder / "secret").write_text("word")
    for key, file in (("outside", str(in_folder / "secret")), ("gone", "gone.png")):
        journal.add(key, "file", {"file": file, "folder": ""})
    delivery = bring_up_to_date(client, "e", journal)
    assert [reason.split(":")[0] for reason in delivery.rejected] == ["outside", "gone"]
    assert client.list_artifacts(delivery.run_id) == []


def test_another_server_gets_all_entries_and_the_origin(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    first = connect_to("a")
    run_a = bring_up_to_date(first, "e", trained(in_folder)).run_id
    second = connect_to("b")
    run_b = bring_up_to_date(second, "e", RunJournal(in_folder / "t1")).run_id
    assert run_a != run_b
    found = second.get_run(run_b)
    assert found.data.tags[runs.ORIGIN_TAG] == f"sqlite:///{in_folder}/a.db run {run_a}"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"train.epochs": "3"}
    assert read_values(second, run_b, "val_l1") == [0.5, 0.5, 0.5]
    # back to the first server: its run is found by its tag, and nothing is duplicated
    again = connect_to("a")
    assert bring_up_to_date(again, "e", RunJournal(in_folder / "t1")).run_id == run_a
    assert read_values(again, run_a, "val_l1") == [0.5, 0.5, 0.5]
    assert runs.ORIGIN_TAG not in again.get_run(run_a).data.tags


def test_a_deleted_run_is_rebuilt_from_the_journal(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    client, journal = connect_to("a"), trained(in_folder)
    deleted = bring_up_to_date(client, "e", journal).run_id
    client.delete_run(deleted)
    run_entries.add_status(journal, "RUNNING")
    fill(journal, 4)
    made = bring_up_to_date(client, "e", journal).run_id
    assert made != deleted
    assert read_values(client, made, "val_l1") == [0.5, 0.5, 0.5, 0.5]
    assert client.get_run(made).info.status == "RUNNING"


def test_of_two_evaluations_the_later_is_current_and_an_equal_one_adds_nothing(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    client, journal = connect_to("a"), trained(in_folder)
    better = EVALUATION | {"generator": {"l1": 0.05}}
    for evaluation, text in (
        (EVALUATION, "1"),
        (EVALUATION, "1"),
        (better, "2"),
        (EVALUATION, "1"),
    ):
        report = write_report(in_folder, text)
        run_entries.add_evaluation(
            journal, evaluation, report, generator=evaluation["generator"], baseline=BASELINE
        )
        run_id = bring_up_to_date(client, "e", journal).run_id
    assert read_values(client, run_id, "test/l1") == [0.1, 0.05, 0.1]
    assert read_values(client, run_id, "baseline/l1") == [0.3]
    assert client.get_run(run_id).data.metrics["test/l1"] == 0.1
    assert client.get_run(run_id).info.status == "FINISHED"
    assert read_report(client, run_id) == "1"


def test_without_the_work_folder_an_evaluation_is_sent_to_the_existing_run(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    client = connect_to("a")
    journal = trained(in_folder)
    journal.add("origin", "tags", {"mlflow.source.git.commit": "of the training"})
    run_id = bring_up_to_date(client, "e", journal).run_id
    training = TrainingRun(
        run_id=run_id,
        training="t1",
        tracking_uri=f"sqlite:///{in_folder}/a.db",
        data={"train": "a", "val": "b"},
    )
    other = run_entries.open_journal(in_folder / "another clone", training)
    report = write_report(in_folder, "1")
    run_entries.add_evaluation(
        other, EVALUATION, report, generator=EVALUATION["generator"], baseline=BASELINE
    )
    assert bring_up_to_date(client, "e", other).run_id == run_id
    run = client.get_run(run_id)
    assert run.data.metrics["test/l1"] == 0.1
    assert run.data.tags["mlflow.source.git.commit"] == "of the training"
    assert read_values(client, run_id, "val_l1") == [0.5, 0.5, 0.5]


def test_a_run_rebuilt_several_times_has_each_row_once(
    in_folder: Path, connect_to: Callable[[str], "MlflowClient"]
) -> None:
    """As from two clones that deliver at the same time, then an evaluation."""
    client = connect_to("b")
    for clone in ("one", "two"):
        journal = run_entries.open_journal(in_folder / clone, TRAINED_ELSEWHERE)
        for epoch in (1, 2):
            run_entries.add_epoch(journal, {"epoch": epoch, "val_l1": 1 / epoch}, send="missing")
        report = write_report(in_folder, clone)
        run_entries.add_evaluation(
            journal,
            EVALUATION,
            report,
            generator=EVALUATION["generator"],
            baseline=BASELINE,
            send="missing",
        )
        run_id = bring_up_to_date(client, "e", journal).run_id
    assert len(client.search_runs([client.get_run(run_id).info.experiment_id])) == 1
    assert read_values(client, run_id, "val/l1") == [1.0, 0.5]
    assert read_report(client, run_id) == "one"
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[runs.ORIGIN_TAG] == f"http://elsewhere run {'0' * 32}"
    assert run.data.tags["data.train_sha256"] == "a"
    better = EVALUATION | {"generator": {"l1": 0.05}}
    report = write_report(in_folder, "later")
    run_entries.add_evaluation(
        journal, better, report, generator=better["generator"], baseline=BASELINE
    )
    bring_up_to_date(client, "e", journal)
    assert read_values(client, run_id, "test/l1") == [0.1, 0.05]
    assert read_report(client, run_id) == "later"


def test_of_runs_created_at_the_same_time_one_is_kept(
    connect_to: Callable[[str], "MlflowClient"], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect_to("a")
    find_run = runs.find_run
    results = iter([None])
    older = runs.find_or_make_run(client, "e", training="t1")

    def find_nothing_at_first(*arguments: Any, **options: Any) -> Any:
        return next(results, find_run(*arguments, **options))

    monkeypatch.setattr(runs, "find_run", find_nothing_at_first)
    assert runs.find_or_make_run(client, "e", training="t1") == older
    assert len(client.search_runs([client.get_run(older).info.experiment_id])) == 1
