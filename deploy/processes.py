"""A service's process: started in a session of its own, watched by its health check, ended."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from deploy.composition import Service
from pipeline_steps.base.errors import PipelineError
from pipeline_steps.base.signals import die_with_parent

POLL_S = 0.5
HEALTH_TIMEOUT_S = 10
KILL_S = 5.0


class ServiceProcess:
    """A service while it runs; its output goes to a log file."""

    def __init__(
        self,
        service: Service,
        log: Path,
        environment: dict[str, str],
        cwd: Path,
        command: list[str] | None = None,
        **options: Any,
    ) -> None:
        self.service = service
        self.log = log
        self.environment = environment
        self.cwd = cwd
        self.command = command or list(service.command)
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.family: list[psutil.Process] = []

    def start(self) -> None:
        """Start the command. Raises :class:`PipelineError` if it can't be."""
        with self.log.open("ab") as log:
            try:
                self.process = subprocess.Popen(
                    self.command,
                    cwd=self.cwd,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the stack to handle, in order
                    preexec_fn=die_with_parent,
                    **self.options,
                )
            except OSError as error:
                raise PipelineError(
                    f"{self.service.name}: {self.command[0]} can't be run ({error.strerror})"
                ) from None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def wait_until_ready(self) -> None:
        """Wait until the health check passes, or a service that ends by itself has ended well.

        Raises :class:`PipelineError` with the log's last line.
        """
        deadline_s = time.monotonic() + self.service.start_s
        while True:
            if self.exit_code is not None:
                if not self.service.health and self.exit_code == 0:
                    return
                raise PipelineError(
                    f"{self.service.name} exited with {self.exit_code}:"
                    f" {self.last_line()} (all of it: {self.log})"
                )
            if self.service.health and self.is_healthy():
                return
            if time.monotonic() > deadline_s:
                raise PipelineError(
                    f"{self.service.name} wasn't ready within {self.service.start_s:.0f} s:"
                    f" {self.last_line()} (all of it: {self.log})"
                )
            time.sleep(POLL_S)

    def is_healthy(self) -> bool:
        """Whether the health check passes now."""
        try:
            checked = subprocess.run(
                self.service.health,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                start_new_session=True,
                timeout=HEALTH_TIMEOUT_S,
            )
        except (subprocess.TimeoutExpired, OSError):
            return False
        return checked.returncode == 0

    def last_line(self) -> str:
        """The last line of the log that says something."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def ask_to_end(self) -> None:
        """Send the service's signal."""
        if self.process is not None and self.process.poll() is None:
            self.family = _family(self.process.pid)
            self.process.send_signal(signal.Signals[self.service.stop_signal])

    def wait_until_ended(self) -> None:
        """Wait for the process and all that it started; kill what is left after ``stop_s``."""
        if self.process is None:
            return
        deadline_s = time.monotonic() + self.service.stop_s
        try:
            self.process.wait(self.service.stop_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(KILL_S)
        # psutil tells a process from a later one with the same id; a training saves a checkpoint
        _, alive = psutil.wait_procs(self.family, max(0, deadline_s - time.monotonic()))
        for member in alive:
            member.kill()
        psutil.wait_procs(alive, KILL_S)
        self.process = None


def _family(pid: int) -> list[psutil.Process]:
    """All descendants: a worker starts its runs in sessions of their own."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def own_environment() -> dict[str, str]:
    """This process's variables without those that would reach the services' settings."""
    others = ("AWS_", "COLORIZER_", "DVC_", "MLFLOW_", "PG", "POSTGRES_", "PREFECT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}
