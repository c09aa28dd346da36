"""The outbox and its courier: what a slow, dead or doubting server can't do to a training."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline_steps.base.errors import TrackingUnreachableError
from pipeline_steps.tracking import courier as courier_module
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.courier import Courier, deliver, deliver_waiting, next_batch
from pipeline_steps.tracking.outbox import Entry, Outbox

pytestmark = pytest.mark.filterwarnings("default")


def metrics(step: int, **values: float) -> dict[str, Any]:
    return {"values": values, "step": step, "time_ms": 1000 + step}


def fill(outbox: Outbox, num_epochs: int) -> None:
    for step in range(num_epochs):
        outbox.add(f"epoch {step}", "metrics", metrics(step, val_l1=0.5))


class Server:
    """Takes entries, or doesn't."""

    def __init__(self) -> None:
        self.is_up = True
        self.taken: list[str] = []

    def take(self, _client: object, _run: str, batch: Sequence[Entry], _files: Path) -> None:
        if not self.is_up:
            raise ConnectionError("gone")
        self.taken += [entry.key for entry in batch]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(courier_module, "deliver", server.take)
    monkeypatch.setattr(courier_module, "RETRY_S", 0.01)
    return server


def test_entries_outlive_the_process_and_keys_are_taken_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    outbox.add("epoch 1", "metrics", metrics(1, val_l1=9.0))
    again = Outbox(tmp_path)
    assert [entry.key for entry in again.entries] == ["epoch 0", "epoch 1", "epoch 2"]
    assert again.entries[1].content["values"] == {"val_l1": 0.5}
    assert again.has("epoch 2")


def test_a_line_cut_off_while_it_was_written_is_dropped(tmp_path: Path) -> None:
    fill(Outbox(tmp_path), 2)
    journal = tmp_path / "outbox" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    outbox = Outbox(tmp_path)
    assert [entry.key for entry in outbox.entries] == ["epoch 0"]
    fill(outbox, 2)
    assert [entry.key for entry in Outbox(tmp_path).entries] == ["epoch 0", "epoch 1"]


@pytest.mark.parametrize("line", [b"[1]\n", b'{"key": 1}\n', b"\x80\x04\n", b"[" * 9999 + b"\n"])
def test_a_damaged_journal_ends_before_the_damage(tmp_path: Path, line: bytes) -> None:
    fill(Outbox(tmp_path), 2)
    journal = tmp_path / "outbox" / "journal.jsonl"
    first, second = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + line + second)
    with pytest.warns(UserWarning, match="damaged after 1 entries"):
        assert [entry.key for entry in Outbox(tmp_path).entries] == ["epoch 0"]
    fill(Outbox(tmp_path), 2)
    assert [entry.key for entry in Outbox(tmp_path).entries] == ["epoch 0", "epoch 1"]


def test_the_mark_is_for_one_server_and_run(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert not outbox.is_waiting()
    fill(outbox, 3)
    assert outbox.is_waiting()
    outbox.mark_delivered("http://a", "run", 3)
    assert outbox.count_delivered("http://a", "run") == 3
    assert outbox.count_delivered("http://b", "run") == 0
    assert outbox.count_delivered("http://a", "other") == 0
    assert not outbox.is_waiting()
    for damaged in ("", "[]", '{"server": "http://a", "run": "run", "entries": "x"}'):
        (tmp_path / "outbox" / "delivered.json").write_text(damaged)
        assert outbox.count_delivered("http://a", "run") == 0
        assert outbox.is_waiting()


def test_metrics_go_in_batches_and_never_past_another_entry() -> None:
    entries = [
        Entry(key=str(n), kind="metrics", content=metrics(n, **{f"m{i}": 0.0 for i in range(400)}))
        for n in range(3)
    ]
    tags = Entry(key="t", kind="tags", content={})
    assert len(next_batch(entries)) == 2
    assert len(next_batch([entries[0], tags, entries[1]])) == 1
    assert next_batch([tags, tags]) == [tags]
    assert next_batch([]) == []


def test_a_server_that_is_away_gets_all_in_order_when_it_is_back(
    tmp_path: Path, server: Server
) -> None:
    outbox = Outbox(tmp_path)
    courier = Courier(outbox, None, "run")  # type: ignore[arg-type]
    server.is_up = False
    courier.start()
    started_s = time.monotonic()
    fill(outbox, 5)
    outbox.add("tags", "tags", {"a": "b"})
    assert time.monotonic() - started_s < 1  # nobody waited for the server
    assert server.taken == []
    server.is_up = True
    assert courier.finish(idle_limit_s=5, total_limit_s=5) == 0
    assert server.taken == [*(f"epoch {n}" for n in range(5)), "tags"]


def test_at_the_end_it_waits_no_longer_than_entries_get_through(
    tmp_path: Path, server: Server
) -> None:
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    server.is_up = False
    courier = Courier(outbox, None, "run")  # type: ignore[arg-type]
    courier.start()
    started_s = time.monotonic()
    assert courier.finish(idle_limit_s=0.2, total_limit_s=60) == 3
    assert time.monotonic() - started_s < 5
    assert Outbox(tmp_path).is_waiting()


def test_a_server_that_hangs_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(courier_module, "deliver", lambda *_: release.wait(30))
    outbox = Outbox(tmp_path)
    fill(outbox, 1)
    courier = Courier(outbox, None, "run")  # type: ignore[arg-type]
    courier.start()
    assert courier.finish(idle_limit_s=0.2, total_limit_s=60) == 1
    release.set()


def test_an_entry_refused_for_good_does_not_hold_up_the_rest(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(client: object, run: str, batch: Sequence[Entry], files: Path) -> None:
        if batch[0].key == "bad":
            raise KeyError("no such thing")
        server.take(client, run, batch, files)

    monkeypatch.setattr(courier_module, "deliver", take)
    outbox = Outbox(tmp_path)
    outbox.add("bad", "tags", {})
    fill(outbox, 1)
    courier = Courier(outbox, None, "run")  # type: ignore[arg-type]
    courier.start()
    assert courier.finish(idle_limit_s=5, total_limit_s=5) == 0
    assert server.taken == ["epoch 0"]
    assert len(courier.refused) == 1
    assert courier.refused[0].startswith("bad: ")


def test_what_is_sent_twice_is_there_once(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill between sending and noting it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    client = mlflow_server.connect()
    folder = in_folder / "t1"
    folder.mkdir()
    outbox = Outbox(folder)
    outbox.add("params", "params", {"train.epochs": "3"})
    fill(outbox, 3)
    file = in_folder / "strips.png"
    file.write_bytes(b"picture")
    outbox.add_file("strips", file, "pictures")
    outbox.add("status", "status", {"status": "FINISHED", "time_ms": 5000})
    run_id = runs.open_run(client, "e", training="t1", work_folder=folder)
    for _ in range(2):
        for entry in outbox.entries:
            deliver(client, run_id, [entry], outbox.files)
    history = client.get_metric_history(run_id, "val_l1")
    assert [metric.step for metric in history] == [0, 1, 2]
    assert [artifact.path for artifact in client.list_artifacts(run_id, "pictures")] == [
        "pictures/strips.png"
    ]
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 5000)
    assert run.data.params == {"train.epochs": "3"}


def test_one_command_delivers_what_waits_and_again_nothing(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = in_folder / "work" / "t1"
    folder.mkdir(parents=True)
    fill(Outbox(folder), 3)
    client = mlflow_server.connect()
    for told in ("deliver: 3 entries of training t1", ""):
        deliver_waiting(client, "e", in_folder / "work")
        assert told in capsys.readouterr().out
    run_id = (folder / "run_id").read_text()
    assert len(client.get_metric_history(run_id, "val_l1")) == 3
    mark = json.loads((folder / "outbox" / "delivered.json").read_text())
    assert (mark["run"], mark["entries"]) == (run_id, 3)


def test_a_server_that_goes_away_while_it_delivers_is_told(
    in_folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(courier_module, "IDLE_LIMIT_S", 0.1)
    folder = in_folder / "work" / "t1"
    folder.mkdir(parents=True)
    fill(Outbox(folder), 2)
    server.is_up = False
    with pytest.raises(TrackingUnreachableError, match="2 of 2 entries of training t1 wait"):
        deliver_waiting(mlflow_server.connect(), "e", in_folder / "work")


def test_no_password_stands_in_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:word@host:5000")
    error = RuntimeError("API request to http://name:word@host:5000/api failed\nmore")
    assert mlflow_server.one_line(error) == "API request to http://host:5000/api failed"
