import signal
import subprocess
import sys
from pathlib import Path

import pytest

from colorizer.base.files import atomic_path, write_json, write_text

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
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_lies_in_the_same_folder_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "grid.png") as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".png"


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    write_json(target, 1)
    writer = start_writer(target)
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=30)
    assert len(list(tmp_path.iterdir())) == 2
    assert target.read_text() == "1\n"
    write_json(tmp_path / "other.json", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.json", "other.json"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    writer = start_writer(target)
    try:
        write_json(tmp_path / "other.json", 2)
        assert [path.read_text() for path in tmp_path.glob(".*.part.json")] == ["half"]
    finally:
        writer.kill()
        writer.communicate(timeout=30)


def test_a_users_hidden_files_are_left_alone(tmp_path: Path) -> None:
    names = (".notes.part.txt", ".a.part", ".partial.json", "x.abcdefgh.part")
    for name in names:
        (tmp_path / name).write_text("mine")
    write_json(tmp_path / "file.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "file.json"}
