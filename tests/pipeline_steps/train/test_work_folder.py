"""Which work folders are kept, and the lock that allows one training in each."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.tracking.journal import Missing, RunJournal
from pipeline_steps.train import work_folder
from pipeline_steps.train.work_folder import mark_finished, open_work_folder

CURRENT = "c" * 16
HOLDER = """
import sys
from pathlib import Path
from pipeline_steps.train.work_folder import open_work_folder
work, name = Path(sys.argv[1]), sys.argv[2]
with open_work_folder(work, name, keep_unfinished=100, keep_unfinished_days=1e4):
    print("held", flush=True)
    sys.stdin.read()
"""


def make(work: Path, number: int, *, days_old: float) -> Path:
    folder = work / f"{number:016x}"
    folder.mkdir(parents=True)
    (folder / "checkpoint-000000000001-x.safetensors").write_text("weights")
    changed_s = time.time() - 86_400 * days_old
    os.utime(folder, (changed_s, changed_s))
    return folder


def open_current(work: Path, *, number: int = 3, days: float = 14.0) -> set[str]:
    """Open the folder of another training; return the names of the other folders kept."""
    with open_work_folder(work, CURRENT, keep_unfinished=number, keep_unfinished_days=days):
        return {path.name for path in work.iterdir()} - {CURRENT}


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Another process that trains in a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder.parent, folder.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert "resumes" in process.stdout.readline()
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


def test_the_latest_unfinished_trainings_are_kept(tmp_path: Path) -> None:
    folders = [make(tmp_path, age, days_old=age) for age in (1, 2, 3, 4)]
    assert open_current(tmp_path, number=2) == {folder.name for folder in folders[:2]}
    assert open_current(tmp_path, number=0) == set()


def test_old_unfinished_trainings_are_removed(tmp_path: Path) -> None:
    young, _ = make(tmp_path, 1, days_old=13.9), make(tmp_path, 2, days_old=14.1)
    assert open_current(tmp_path) == {young.name}


def test_the_current_training_is_never_removed(tmp_path: Path) -> None:
    work = make(tmp_path, int(CURRENT, 16), days_old=1000).parent
    with open_work_folder(work, CURRENT, keep_unfinished=0, keep_unfinished_days=0.0) as folder:
        assert list(folder.glob("checkpoint-*"))


def test_finished_trainings_are_removed(tmp_path: Path) -> None:
    mark_finished(make(tmp_path, 1, days_old=0))
    assert open_current(tmp_path) == set()


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_folder_with_entries_to_deliver_is_kept(tmp_path: Path, is_finished: bool) -> None:
    waiting = make(tmp_path, 1, days_old=1000)
    journal = RunJournal(waiting)
    journal.add("epoch 1", "metrics", {"values": {}, "step": 1, "time_ms": 1})
    if is_finished:
        mark_finished(waiting)
    assert open_current(tmp_path, days=0.0) == {waiting.name}
    journal.mark_delivered("server", "run", 1)
    assert open_current(tmp_path, days=0.0) == set()


def test_of_a_folder_with_rejected_entries_the_journal_is_kept(tmp_path: Path) -> None:
    rejecting = make(tmp_path, 1, days_old=1000)
    journal = RunJournal(rejecting)
    journal.add("epoch 1", "metrics", {"values": {}, "step": 1, "time_ms": 1})
    (rejecting / "checkpoint-1").write_bytes(b"x")
    journal.mark_delivered("server", "run", 1, {"epoch 1": Missing("413", is_final=True)})
    os.utime(rejecting, (0, 0))
    assert open_current(tmp_path, days=0.0) == {rejecting.name}
    assert RunJournal(rejecting).has("epoch 1")
    assert not (rejecting / "checkpoint-1").exists()


def test_a_folder_that_a_process_trains_in_is_kept(tmp_path: Path) -> None:
    used = make(tmp_path, 1, days_old=1000)
    with training_in(used):
        os.utime(used, (0, 0))
        assert open_current(tmp_path) == {used.name}
    assert open_current(tmp_path) == set()  # the lock of a killed process is released


def test_a_folder_that_is_not_a_work_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / ("0" * 16)).write_text("a file")
    assert open_current(tmp_path, number=0) == {"mine", "0" * 16}


def test_a_second_training_in_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = make(tmp_path, int(CURRENT, 16), days_old=0)
    monkeypatch.setattr(work_folder, "LOCK_TIMEOUT_S", 0.1)
    refusal = f"{CURRENT}: another process trains in it; wait until it has finished"
    with training_in(used), pytest.raises(TrainingError, match=refusal):
        open_current(tmp_path)
    open_current(tmp_path)  # the lock is free again


@pytest.mark.parametrize(
    ("is_finished", "line"),
    [(False, "train: resumes from the newest checkpoint in"), (True, "train: finished before; ")],
)
def test_opening_an_existing_folder_prints_its_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_finished: bool, line: str
) -> None:
    open_current(tmp_path)
    assert capsys.readouterr().out == ""
    make(tmp_path / "other", int(CURRENT, 16), days_old=0)
    if is_finished:
        mark_finished(tmp_path / "other" / CURRENT)
    open_current(tmp_path / "other")
    assert capsys.readouterr().out.startswith(line)
