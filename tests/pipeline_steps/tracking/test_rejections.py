"""Entries that a server, or a proxy before it, rejects or can't take now: the others go on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from colorizer.base import file_transfer
from pipeline_steps.base.errors import TrackingError, TrackingUnreachableError
from pipeline_steps.commands import deliver
from pipeline_steps.tracking import delivery as delivery_module
from pipeline_steps.tracking import mlflow_server, run_entries
from pipeline_steps.tracking.delivery import Delivery, deliver_waiting, print_undelivered
from pipeline_steps.tracking.journal import Entry, RunJournal
from pipeline_steps.tracking.run_writer import RunWriter

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings("default")
ADDRESS = "http://alice:word@tracking/api/grid.png"


def http_error(status: int) -> requests.HTTPError:
    """As MLflow's client raises it when it has sent a file."""
    response = requests.Response()
    response.status_code, response.url = status, ADDRESS
    response.request = requests.Request("PUT", ADDRESS).prepare()
    return requests.HTTPError(f"{status} for url: {ADDRESS}", response=response)


class Server:
    """Answers a status for the keys that it's set for; records what it was sent, and took."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.sent: list[str] = []
        self.taken: list[str] = []
        self.stored: set[str] = set()
        """Keys of files that it stored though it answered that it was too slow."""

    def take(self, batch: Sequence[Entry]) -> None:
        keys = [entry.key for entry in batch]
        self.sent += keys
        for key in keys:
            if key in self.answers:
                raise http_error(self.answers[key])
        self.taken += keys


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(RunWriter, "send", lambda _, batch: server.take(batch))
    monkeypatch.setattr(RunWriter, "has_file", lambda _, entry: entry.key in server.stored)
    monkeypatch.setattr(delivery_module, "RETRY_S", 0.01)
    return server


@pytest.fixture
def journal(tmp_path: Path) -> RunJournal:
    """Metrics, a grid and a status, in this order."""
    journal = RunJournal(tmp_path / "work" / "t1")
    for step in range(4):
        journal.add(f"epoch {step}", "metrics", {"values": {"a": 0.5}, "step": step, "time_ms": 1})
    add_grid(journal, tmp_path, "one")
    run_entries.add_status(journal, "FINISHED")
    return journal


def add_grid(journal: RunJournal, folder: Path, text: str) -> None:
    (folder / "grid.png").write_text(text)
    journal.add_file_revision("grid", folder / "grid.png")


def send(journal: RunJournal, *, also_rejected: bool = False, idle_limit_s: float = 60) -> Delivery:
    delivery = Delivery(None, journal, "run", also_rejected=also_rejected)  # type: ignore[arg-type]
    delivery.start()
    delivery.finish(idle_limit_s=idle_limit_s, total_limit_s=60)
    return delivery


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_rejected_file_is_sent_once_and_set_aside(
    journal: RunJournal, server: Server, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = {"grid #1": status}
    delivery = send(journal)
    assert server.taken == ["epoch 0", "epoch 1", "epoch 2", "epoch 3", "status 5"]
    assert server.sent.count("grid #1") == 1
    assert (delivery.num_left, delivery.set_aside) == (0, ["grid #1"])
    print_undelivered("train", delivery)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"train: set aside: grid #1: http://tracking/api/grid.png answered {status}"
    )
    assert "lacks 1 entry of training t1" in last
    assert "`python -m pipeline_steps deliver` sends it" in last


def test_what_was_set_aside_is_kept_on_disk_until_it_is_asked_for(
    journal: RunJournal, server: Server
) -> None:
    server.answers = {"grid #1": 413}
    send(journal)
    again = RunJournal(journal.folder.parent)
    assert not again.is_waiting()
    assert again.is_waiting(also_rejected=True)
    assert send(again).set_aside == ["grid #1"]
    assert server.sent.count("grid #1") == 1
    assert send(again, also_rejected=True).set_aside == ["grid #1"]
    assert server.sent.count("grid #1") == 2
    server.answers = {}
    assert send(RunJournal(journal.folder.parent), also_rejected=True).missing == {}
    assert server.taken[-1] == "grid #1"
    assert not RunJournal(journal.folder.parent).is_waiting(also_rejected=True)
    mark = json.loads((journal.folder / "delivered.json").read_text())
    assert "missing" not in mark


def test_of_a_batch_only_what_is_too_large_is_set_aside(
    journal: RunJournal, server: Server
) -> None:
    server.answers = {"epoch 2": 413}
    assert send(journal).set_aside == ["epoch 2"]
    assert server.taken == ["epoch 0", "epoch 1", "epoch 3", "grid #1", "status 5"]


def test_a_later_revision_replaces_one_that_was_set_aside(
    journal: RunJournal, server: Server, tmp_path: Path
) -> None:
    server.answers = {"grid #1": 413, "grid #2": 413, "status 5": 413}
    send(journal)
    add_grid(journal, tmp_path, "two")
    run_entries.add_status(journal, "RUNNING")
    assert send(journal).set_aside == ["grid #2"]
    add_grid(journal, tmp_path, "three")
    assert send(journal).missing == {}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_file_that_the_server_cannot_take_now_is_sent_after_the_others(
    journal: RunJournal, server: Server, status: int
) -> None:
    server.answers = {"grid #1": status}
    delivery = send(journal, idle_limit_s=0.3)
    assert server.taken == ["epoch 0", "epoch 1", "epoch 2", "epoch 3", "status 5"]
    assert (delivery.num_left, delivery.postponed) == (1, ["grid #1"])
    assert RunJournal(journal.folder.parent).is_waiting()
    server.answers = {}
    assert send(journal).missing == {}
    assert server.taken[-1] == "grid #1"


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_file_that_the_server_was_too_slow_to_store_is_not_sent_twice(
    journal: RunJournal, server: Server, is_stored: bool
) -> None:
    server.answers = {"grid #1": 504}
    server.stored = {"grid #1"} if is_stored else set()
    delivery = send(journal, idle_limit_s=0.5)
    assert server.sent.count("grid #1") == 1
    assert delivery.postponed == ([] if is_stored else ["grid #1"])


def test_metrics_that_the_server_cannot_take_now_keep_their_order(
    journal: RunJournal, server: Server
) -> None:
    server.answers = {"epoch 1": 503}
    assert send(journal, idle_limit_s=0.3).num_queued == 6
    assert server.taken == []


def test_a_file_that_is_being_sent_has_the_time_that_its_size_needs(
    journal: RunJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr(RunWriter, "send", lambda _, batch: time.sleep(0.6))
    monkeypatch.setattr(file_transfer, "BASE_TIMEOUT_S", 20.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    delivery = Delivery(None, journal, "run")  # type: ignore[arg-type]
    delivery.num_delivered = 4
    delivery.start()
    delivery.finish(idle_limit_s=0.1, total_limit_s=60)
    assert delivery.num_delivered >= 5


def test_the_command_reports_what_is_set_aside_and_sends_it_later(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a real database: one training whose grid is rejected, and another behind it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(deliver, "TRAIN_WORK", in_folder / "work")
    monkeypatch.setattr(deliver, "read_params", lambda: Params())
    for training in ("t1", "t2"):
        add_grid(RunJournal(in_folder / "work" / training), in_folder, training)
    client = mlflow_server.connect()
    send_file = RunWriter._send_file

    def reject_t1(writer: RunWriter, entry: Entry) -> None:
        if writer.files.parts[-3] == "t1":
            raise http_error(413)
        send_file(writer, entry)

    monkeypatch.setattr(RunWriter, "_send_file", reject_t1)
    assert deliver_waiting(client, "e", in_folder / "work", command="evaluate") == 1
    printed = capsys.readouterr().out
    assert "evaluate: set aside: grid #1: http://tracking/api/grid.png answered 413" in printed
    assert "of training t2 is up to date" in printed
    assert "word" not in printed
    with pytest.raises(TrackingError, match="1 entry isn't delivered") as raised:
        deliver.main()
    assert raised.value.exit_code == 1
    monkeypatch.setattr(RunWriter, "_send_file", send_file)
    deliver.main()
    assert capsys.readouterr().out.endswith("deliver: all entries are delivered\n")
    run_id = json.loads((in_folder / "work/t1/outbox/delivered.json").read_text())["run"]
    assert [each.path for each in client.list_artifacts(run_id)] == ["grid.png"]


class Params:
    """As much as the command reads."""

    class tracking:  # noqa: N801
        """As in params.yaml."""

        experiment = "e"


@pytest.mark.parametrize(("status", "exit_code"), [(413, 1), (403, 1), (503, 75), (504, 75)])
def test_an_error_of_a_file_is_one_line_without_a_password(status: int, exit_code: int) -> None:
    with pytest.raises(TrackingError) as raised, mlflow_server.plain_errors():
        raise http_error(status)
    assert raised.value.exit_code == exit_code
    assert isinstance(raised.value, TrackingUnreachableError) == (exit_code == 75)
    text = str(raised.value)
    assert text.startswith(f"http://tracking/api/grid.png answered {status}")
    assert "word" not in text
    assert "\n" not in text


def test_a_file_is_found_on_the_server_by_its_bytes(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    client: MlflowClient = mlflow_server.connect()
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    journal = RunJournal(in_folder / "t1")
    add_grid(journal, in_folder, "one")
    writer = RunWriter(client, run_id, journal.files)
    (entry,) = journal.entries
    assert not writer.has_file(entry)
    writer.send([entry])
    assert writer.has_file(entry)
    (journal.files / "grid.png").write_text("two")
    assert not writer.has_file(entry)
