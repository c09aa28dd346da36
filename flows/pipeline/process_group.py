"""Runs a command in its own process group: passes on its output by lines, ends all its children."""

import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PROGRESS_INTERVAL_S = 15.0
"""A progress bar redraws itself ten times a second; a log keeps one line per interval."""
END_GRACE_S = 4.0
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Control sequences of terminals (ECMA-48), which a log shows as ``[0;93m``."""
_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def run_in_process_group(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
) -> int:
    """Run a command and hand over its lines (stdout and stderr together); return its exit code.

    A line that is redrawn in place (a progress bar) is handed over every
    ``PROGRESS_INTERVAL_S`` at most. If this call is left by an exception, the process tree is
    ended.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with _lock:
        _running.add(process)
    try:
        assert process.stdout is not None
        _hand_over_lines(process, process.stdout, on_line)
        return process.wait()
    finally:
        _end([process])
        if process.stdout is not None:
            process.stdout.close()
        with _lock:
            _running.discard(process)


def end_all() -> None:
    """End every running command and its children: SIGTERM, after ``END_GRACE_S`` SIGKILL."""
    with _lock:
        processes = list(_running)
    _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        groups = [process.pid for process in processes if _group_lives(process.pid)]
        if not groups:
            break
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
        deadline_s = time.monotonic() + END_GRACE_S
        while time.monotonic() < deadline_s and any(map(_group_lives, groups)):
            for process in processes:
                process.poll()  # a leader that isn't reaped keeps its group alive
            time.sleep(0.05)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _hand_over_lines(
    process: subprocess.Popen[bytes], output: IO[bytes], on_line: Callable[[str], None]
) -> None:
    lines = LineSplitter(on_line)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=0.5):
                data = os.read(output.fileno(), 1 << 16)
                if not data:
                    break
                lines.feed(data)
            elif process.poll() is not None:
                break  # something it left behind holds the pipe open
    lines.close()


class LineSplitter:
    """Bytes in any pieces → whole lines; of a progress bar's redrawings only some."""

    def __init__(
        self, on_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.on_line = on_line
        self.clock = clock
        self.rest = b""
        self.last_progress_s = float("-inf")

    def feed(self, data: bytes) -> None:
        """Process more bytes."""
        *parts, self.rest = re.split(rb"(?<=[\r\n])", self.rest + data)
        for part in parts:
            if part.endswith(b"\n"):
                self._emit(part)
            elif self._progress_is_due() and self._emit(part):
                self.last_progress_s = self.clock()

    def close(self) -> None:
        """Hand over what has no line end."""
        self._emit(self.rest)
        self.rest = b""

    def _progress_is_due(self) -> bool:
        return self.clock() - self.last_progress_s >= PROGRESS_INTERVAL_S

    def _emit(self, part: bytes) -> bool:
        text = _COLOURS.sub("", part.decode("utf-8", "replace")).rstrip()
        if text:
            self.on_line(text)
        return bool(text)
