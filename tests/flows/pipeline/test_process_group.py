"""Real processes: their output line by line, and no child process left at the end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.pipeline import process_group
from flows.pipeline.process_group import LineSplitter, end_all, run_in_process_group


def run(script: str, folder: Path, on_line: Callable[[str], None] = print) -> int:
    command = [sys.executable, "-c", script]
    return run_in_process_group(
        command, folder=folder, environment=dict(os.environ), on_line=on_line
    )


def test_lines_of_both_streams_are_in_order_and_the_exit_code_is_returned(tmp_path: Path) -> None:
    script = "import sys; print('one'); print('two', file=sys.stderr); print('three'); sys.exit(7)"
    lines: list[str] = []
    assert run(script, tmp_path, lines.append) == 7
    assert lines == ["one", "two", "three"]


def test_lines_are_passed_on_while_the_command_runs(tmp_path: Path) -> None:
    script = "import os, time\nprint('ready')\nwhile not os.path.exists('go'): time.sleep(0.05)"

    def answer(line: str) -> None:
        (tmp_path / "go").touch()

    assert run(script, tmp_path, answer) == 0


def test_a_progress_bar_gives_one_line_per_interval_and_its_last_state() -> None:
    now_s = 0.0
    lines: list[str] = []
    splitter = LineSplitter(lines.append, clock=lambda: now_s)
    for percent in range(100):
        splitter.feed(f"\r{percent} %".encode())
        now_s += 0.5
    splitter.feed(b"\r100 %\nnext\n")
    assert lines == ["0 %", "30 %", "60 %", "90 %", "100 %", "next"]


def test_lines_do_not_depend_on_how_the_bytes_are_split() -> None:
    text = "grün\nzwei\nohne Ende".encode()
    for size in (1, 2, 3, 100):
        lines: list[str] = []
        splitter = LineSplitter(lines.append)
        for start in range(0, len(text), size):
            splitter.feed(text[start : start + size])
        splitter.close()
        assert lines == ["grün", "zwei", "ohne Ende"]


def test_colours_of_a_terminal_are_left_out() -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    splitter.feed(b"\x1b[0;93m2026 [W:onnxruntime:, graph.cc] odd\x1b[m\n\x1b[K\n\x1b[1A[one]\n")
    assert lines == ["2026 [W:onnxruntime:, graph.cc] odd", "[one]"]


GRANDCHILD = """
import subprocess, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_ending_kills_all_descendants_even_if_they_ignore_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "END_GRACE_S", 1.0)
    pids: list[int] = []
    begun = threading.Event()

    def note(line: str) -> None:
        pids.append(int(line))
        begun.set()

    codes: list[int] = []
    runner = threading.Thread(target=lambda: codes.append(run(GRANDCHILD, tmp_path, note)))
    runner.start()
    assert begun.wait(30)
    end_all()
    runner.join(30)
    assert not runner.is_alive()
    assert codes == [-signal.SIGKILL]
    deadline_s = time.monotonic() + 10
    while is_running(pids[0]):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_remaining_child_process_does_not_delay_the_return(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c',"
        " 'import time; time.sleep(600)']); print('done')"
    )
    lines: list[str] = []
    assert run(script, tmp_path, lines.append) == 0
    assert lines == ["done"]
