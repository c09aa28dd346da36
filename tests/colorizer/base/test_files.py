import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colorizer.base.files import (
    atomic_path,
    move_into_place,
    remove_abandoned,
    write_json,
    write_text,
)

WRITER = """
import sys, time
from pathlib import Path
from colorizer.base.files import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(target: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as partial:
            partial.write_text("new")
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_has_the_same_folder_and_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "grid.png") as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".png"


def test_the_next_process_removes_the_files_of_a_killed_writer(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    target.write_text("1\n")
    writer = start_writer(target)
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=30)
    assert len(list(tmp_path.iterdir())) == 2
    assert target.read_text() == "1\n"
    write_json(tmp_path / "other.json", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.json", "other.json"]


def test_a_file_that_another_process_is_writing_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    writer = start_writer(target)
    try:
        write_json(tmp_path / "other.json", 2)
        assert [path.read_text() for path in tmp_path.glob(".*.part.json")] == ["half"]
    finally:
        writer.kill()
        writer.communicate(timeout=30)


def test_a_file_removed_before_it_is_locked_is_created_again(tmp_path: Path) -> None:
    """Another process may consider it abandoned between its creation and its lock."""
    stop = threading.Event()

    def remove_each_time() -> None:
        while not stop.is_set():
            remove_abandoned(tmp_path)

    remover = threading.Thread(target=remove_each_time)
    remover.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            done = pool.map(lambda n: write_json(tmp_path / f"{n}.json", n), range(400))
            assert len(list(done)) == 400
    finally:
        stop.set()
        remover.join()
    assert len(list(tmp_path.iterdir())) == 400


def test_a_users_hidden_files_are_kept(tmp_path: Path) -> None:
    names = (".notes.part.txt", ".a.part", ".partial.json", "x.abcdefgh.part")
    for name in names:
        (tmp_path / name).write_text("mine")
    write_json(tmp_path / "file.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "file.json"}


WRITE_WITHOUT = """
import sys
from pathlib import Path
sys.modules[sys.argv[1]] = None  # importing it raises ModuleNotFoundError
from colorizer.base.files import write_json
write_json(Path(sys.argv[2]), 2)
"""


@pytest.mark.parametrize(
    ("missing", "num_left"),
    [pytest.param("filelock", 0, id="filelock"), pytest.param("fcntl", 1, id="fcntl")],
)
def test_files_are_written_without_lock_libraries(
    tmp_path: Path, missing: str, num_left: int
) -> None:
    """The runtime works without filelock; without fcntl, leftovers are removed after an hour."""
    writer = start_writer(tmp_path / "file.json")
    writer.kill()
    writer.communicate(timeout=30)
    target = tmp_path / "other.json"
    subprocess.run([sys.executable, "-c", WRITE_WITHOUT, missing, str(target)], check=True)
    assert target.read_text() == "2\n"
    left = [path for path in tmp_path.iterdir() if path != target]
    assert [path.read_text() for path in left] == ["half"] * num_left
    for path in left:
        os.utime(path, (0, time.time() - 3700))
    subprocess.run([sys.executable, "-c", WRITE_WITHOUT, missing, str(target)], check=True)
    assert list(tmp_path.iterdir()) == [target]


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    write_json(target, 1)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(target, float("nan"))
    assert target.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [target]


def test_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file.txt", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_a_finished_file_is_synced_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial, target = tmp_path / "partial", tmp_path / "target"
    partial.write_text("whole")
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    move_into_place(partial, target)
    assert synced == [("partial", False), (tmp_path.name, True)]
    assert target.read_text() == "whole"


@pytest.mark.parametrize("stem", ["a" * 251, "é" * 125])
def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path, stem: str) -> None:
    write_text(tmp_path / f"{stem}.png", "whole")
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem}.png"]
