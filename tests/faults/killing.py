"""Run the pipeline's commands and kill them at a chosen moment."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import psutil

from tests.whole.clone import REGISTER, Clone

LIMIT_S = 300.0
Victim = Literal["all", "dvc", "stage"]
_RUNNING = re.compile(r"Running stage '(\w+)'")
PHASES = ("download", "prepare", "train", "evaluate", "export", "register")
# as `make repro`
REPRO = ("sh", "-c", 'python -m pipeline_steps dvc_lock && exec dvc repro "$@"', "repro")
TRAIN = (sys.executable, "-m", "pipeline_steps", "train")
COMPARED = (
    "data/prepared/train.npy",
    "models/generator.safetensors",
    "models/generator_last.safetensors",
    "models/colorizer/generator.onnx",
    "models/colorizer/checksums.json",
    "metrics/training.json",
    "metrics/evaluation.json",
    "reports/train/history.csv",
    "reports/evaluate/per_picture.csv",
)


_started: list["Watched"] = []


@dataclass
class Watched:
    """A running command, and when each phase of the pipeline began."""

    process: "subprocess.Popen[str]"
    began_s: dict[str, float] = field(default_factory=dict)
    ended_s: float = 0.0
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Read the command's lines until it ends; run in a thread."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                if match := _RUNNING.search(line):
                    self.began_s[match[1]] = time.monotonic()
        self.ended_s = time.monotonic()

    def wait_for(self, phase: str) -> bool:
        """Wait until a phase has begun; False if the command ended first."""
        deadline_s = time.monotonic() + LIMIT_S
        while phase not in self.began_s:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline_s, f"{phase} didn't begin\n{''.join(self.lines)}"
            time.sleep(0.01)
        return True

    def is_running_after(self, seconds: float) -> bool:
        """Wait; return whether the process is still running."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def kill(self, victim: Victim) -> None:
        """SIGKILL the whole session, only DVC, or only DVC's child processes."""
        group = self.process.pid
        if victim == "all":
            targets = [p.pid for p in psutil.process_iter() if _session(p.pid) == group]
        elif victim == "dvc":
            targets = [group]
        else:
            targets = [p.pid for p in psutil.Process(group).children(recursive=True)]
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start(clone: Clone, command: Sequence[str]) -> tuple[Watched, threading.Thread]:
    """Start a command in a new session; a thread reads its output."""
    process = subprocess.Popen(
        command,
        cwd=clone.folder,
        env=clone.environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    watched = Watched(process)
    _started.append(watched)
    if command == REGISTER:
        watched.began_s["register"] = time.monotonic()
    reader = threading.Thread(target=watched.read, daemon=True)
    reader.start()
    return watched, reader


def kill_all_started() -> None:
    """SIGKILL every command that a failed test has left running, with its session."""
    while _started:
        watched = _started.pop()
        if watched.process.poll() is None:
            watched.kill("all")
            watched.process.wait(LIMIT_S)


def start_for(phase: str, clone: Clone) -> tuple[Watched, threading.Thread]:
    """Start the command that runs a phase; before ``register``, all stages are run."""
    if phase != "register":
        return start(clone, REPRO)
    run_to_end(clone, REPRO)
    return start(clone, REGISTER)


def run_and_kill(clone: Clone, *, phase: str, after_s: float, victim: Victim) -> bool:
    """Kill a command ``after_s`` into a phase; False if the command ended first."""
    watched, reader = start_for(phase, clone)
    is_killed = watched.wait_for(phase) and watched.is_running_after(after_s)
    if is_killed:
        watched.kill(victim)
    watched.process.wait(LIMIT_S)
    reader.join(LIMIT_S)
    wait_for_session_end(watched.process.pid)
    return is_killed


def run_to_end(clone: Clone, command: Sequence[str]) -> Watched:
    """Run a command to its end; fail if it fails."""
    watched, reader = start(clone, command)
    watched.process.wait(LIMIT_S)
    reader.join(LIMIT_S)
    assert watched.process.returncode == 0, "".join(watched.lines)
    return watched


def finish(clone: Clone) -> None:
    """Run every stage and register the model; fail if either fails."""
    run_to_end(clone, REPRO)
    run_to_end(clone, REGISTER)


def wait_for_session_end(session: int) -> None:
    """Wait until all processes of a session have exited, reaped or not; fail after 20 s."""
    deadline_s = time.monotonic() + 20
    while remaining := [
        process.info["cmdline"]
        for process in psutil.process_iter(["status", "cmdline"])
        if _session(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE
    ]:
        assert time.monotonic() < deadline_s, f"still running: {remaining}"
        time.sleep(0.05)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def hashes(clone: Clone) -> dict[str, str]:
    """The sha256 of each file that must be the same with and without interruptions."""
    return {file: clone.sha256(file) for file in COMPARED}
