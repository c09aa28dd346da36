"""A Prefect installation for tests: PostgreSQL, server, worker, webhook; all on loopback.

Each context manager waits until its process responds, and ends it afterwards, in bounded time.
"""

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

START_S = 180.0  # migrating an empty database takes a minute on a loaded machine
END_S = 20.0
MAX_RECEIVED = 100
# intervals of the server's loops that tests wait for; the defaults are 5 to 60 s
QUICK_LOOPS = {
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
}


class State(NamedTuple):
    """The state of a flow run: type (``CRASHED``), name (``Crashed``) and message."""

    type: str
    name: str
    message: str


@dataclass
class PrefectServer:
    """A running server, a client's environment for it, and requests to its API."""

    url: str
    environment: dict[str, str]
    log_path: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send an authorised request to the API; return its JSON; fail on an error status.

        A request is sent again while SQLite is locked (503), or when the connection is lost, as
        Prefect's own client does.
        """
        user, _, password = self.environment.get("PREFECT_API_AUTH_STRING", "").partition(":")
        retries = Retry(
            connect=0,
            read=3,
            status=6,
            status_forcelist=[503],
            allowed_methods=None,
            backoff_factor=0.3,
        )
        with requests.Session() as session:
            session.trust_env = False
            session.mount(self.url, HTTPAdapter(max_retries=retries))
            response = session.request(
                method,
                f"{self.url}{path}",
                json=body,
                auth=(user, password) if user else None,
                timeout=30,
            )
        assert response.ok, f"{method} {path} gave {response.status_code}: {response.text[:1000]}"
        return response.json() if response.content else None

    def run(self, *command: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Python command line (``-m prefect …``) as a client of this server."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} gave {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def deployment_id(self, name: str) -> str:
        """The id of ``flow/deployment``."""
        return str(self.call("GET", f"/deployments/name/{name}")["id"])

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Start a run of ``flow/deployment``; return its id."""
        identity = self.deployment_id(deployment)
        path = f"/deployments/{identity}/create_flow_run"
        return str(self.call("POST", path, {"parameters": parameters})["id"])

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """All runs of ``flow/deployment``, the earliest first."""
        body = {
            "deployments": {"id": {"any_": [self.deployment_id(deployment)]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        found: list[dict[str, Any]] = self.call("POST", "/flow_runs/filter", body)
        return found

    def state(self, run_id: str) -> State:
        """The current state of a flow run."""
        state = self.call("GET", f"/flow_runs/{run_id}")["state"]
        return State(state["type"], state["name"], state["message"] or "")

    def cancel(self, run_id: str) -> None:
        """Cancel a flow run, as the button of Prefect's page does."""
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        self.call("POST", f"/flow_runs/{run_id}/set_state", body)

    def wait_for_state(self, run_id: str, types: Collection[str], timeout_s: float) -> State:
        """Wait until the run is in a state of one of these types."""
        seen: list[State] = []

        def reached() -> bool:
            state = self.state(run_id)
            if seen[-1:] != [state]:
                seen.append(state)
            return state.type in types

        wait_until(reached, timeout_s, lambda: f"run {run_id} is not {types}: {seen}")
        return seen[-1]


def wait_until(condition: Callable[[], bool], timeout_s: float, message: Callable[[], str]) -> None:
    """Poll until the condition holds; fail with the message after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s {message()}"
        time.sleep(0.25)


def free_port() -> int:
    """A port on loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def postgres_binaries() -> Path | None:
    """The newest folder with ``initdb``, ``postgres`` and ``pg_isready``; None if not found."""
    found = [Path(at).resolve().parent] if (at := shutil.which("initdb")) else []
    found += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: [int(digits) for digits in re.findall(r"\d+", str(folder))],
        reverse=True,
    )
    needed = ("initdb", "postgres", "pg_isready")
    return next((at for at in found if all((at / name).is_file() for name in needed)), None)


@contextmanager
def postgres_cluster(folder: Path) -> Iterator[str]:
    """Start a new PostgreSQL, its log in ``folder``; yield its URL for Prefect."""
    binaries = postgres_binaries()
    assert binaries is not None, "PostgreSQL's initdb and postgres are not found"
    # PostgreSQL refuses to run as root, and other users can't read pytest's folders
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="postgres-") as temporary:
        home = Path(temporary)
        password, port, log_path = secrets.token_hex(16), free_port(), folder / "postgres.log"
        (home / "password").write_text(password)
        options: dict[str, Any] = {
            "cwd": home,
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
        }
        if owner:
            options |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for path in (home, home / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        initdb_arguments = (
            f"-D {home}/data -U prefect -E UTF8 --locale=C --no-sync -A scram-sha-256"
        )
        created = subprocess.run(
            [binaries / "initdb", *initdb_arguments.split(), f"--pwfile={home}/password"],
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        assert created.returncode == 0, created.stderr
        postgres_arguments = f"-D {home}/data -h 127.0.0.1 -p {port} -k {home} -F"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", *postgres_arguments.split()],
                stdout=log,
                stderr=log,
                **options,
            )
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        try:
            wait_until(
                lambda: (
                    require_running(process, log_path) and subprocess.call(ready, timeout=30) == 0
                ),
                START_S,
                lambda: f"PostgreSQL does not answer:\n{tail(log_path)}",
            )
            yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
        finally:
            end(process, signal.SIGINT)  # PostgreSQL's fast shutdown, which closes connections


@contextmanager
def prefect_server(
    folder: Path,
    database_url: str | None = None,
    auth: str | None = "admin:secret",
    port: int | None = None,
) -> Iterator[PrefectServer]:
    """Start a Prefect server; home, log and (without ``database_url``) SQLite in ``folder``."""
    port = port or free_port()
    log_path = folder / "server.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    common = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PATH": path,
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    client = common | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(folder / "client"),
    }
    server = common | QUICK_LOOPS | {"PREFECT_HOME": str(folder / "server")}
    # the server's automations call its API
    server |= {"PREFECT_API_URL": client["PREFECT_API_URL"]}
    if auth:
        client["PREFECT_API_AUTH_STRING"] = auth
        server["PREFECT_SERVER_API_AUTH_STRING"] = auth
    if database_url:
        server["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url
    command = [sys.executable, "-m", "flows.ui.server"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=server,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    prefect = PrefectServer(client["PREFECT_API_URL"], client, log_path)

    def healthy() -> bool:
        try:
            return require_running(process, log_path) and bool(prefect.call("GET", "/health"))
        except (requests.ConnectionError, requests.Timeout):  # it listens before it can answer
            return False

    try:
        wait_until(healthy, START_S, lambda: f"the server does not answer:\n{tail(log_path)}")
        yield prefect
    finally:
        end(process)


@contextmanager
def process_worker(
    server: PrefectServer, pool: str, cwd: Path, **environment: str
) -> Iterator[subprocess.Popen[Any]]:
    """Start a worker that runs flows as processes; creates the work pool if it is missing."""
    log_path = cwd / f"worker-{pool}-{secrets.token_hex(4)}.log"
    name = log_path.stem
    command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--pool", pool, "--type", "process"],
            cwd=cwd,
            env=server.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def online() -> bool:
        if not require_running(process, log_path):
            return False
        pools = server.call("POST", "/work_pools/filter", {})
        if pool not in [known["name"] for known in pools]:
            return False
        workers = server.call("POST", f"/work_pools/{pool}/workers/filter", {})
        return name in [worker["name"] for worker in workers]

    try:
        wait_until(online, START_S, lambda: f"the worker is not online:\n{tail(log_path)}")
        yield process
    finally:
        end(process)


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """SIGKILL a worker and the flow runs that it started, as a power failure would."""
    family = [psutil.Process(process.pid), *children(process)]
    for member in family:
        member.kill()
    process.wait(END_S)
    psutil.wait_procs(family, END_S)


def children(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """All child processes, recursively; a worker starts them in new sessions."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end(process: subprocess.Popen[Any], signal_number: int = signal.SIGTERM) -> None:
    """Send a signal; kill the process after ``END_S``, then its remaining children."""
    family = children(process)
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_S)
    # psutil distinguishes a process from a later one with the same id
    _, alive = psutil.wait_procs(family, 2)
    for member in alive:
        member.kill()
    psutil.wait_procs(alive, END_S)


def require_running(process: subprocess.Popen[Any], log_path: Path) -> bool:
    """True while the process runs; fail with the last lines of its log if it has ended."""
    assert process.poll() is None, (
        f"the process exited with {process.returncode}:\n{tail(log_path)}"
    )
    return True


def tail(log_path: Path) -> str:
    """The last 40 lines of a log."""
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-40:])


@dataclass
class Receiver:
    """A webhook's address and the requests it received: pairs of path and JSON body."""

    url: str
    received: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """Listen on loopback for posted JSON; keep the first ``MAX_RECEIVED`` requests."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers["Content-Length"] or 0), 1 << 20))
            if len(receiver.received) < MAX_RECEIVED:
                receiver.received.append((self.path, json.loads(body or b"null")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            listener.shutdown()
            thread.join(END_S)
