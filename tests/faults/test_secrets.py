"""Canaries for every secret: no output, file or request contains one, in success or failure.

The commands run with a user's environment, not pytest's: under pytest, MLflow and other libraries
turn their telemetry off, so the test would prove nothing.
"""

import base64
import binascii
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.faults.faulty_proxy import FaultyProxy, Mode, faulty_proxy
from tests.faults.report import FULL, report
from tests.pipeline_steps.download.kaggle_server import (
    KEY,
    SIGNATURE,
    TOKEN,
    USERNAME,
    KaggleServer,
    exclusive_port,
)
from tests.whole.clone import REGISTER, Clone, make_small_clone
from tests.whole.prefect_stack import (
    end,
    free_port,
    prefect_server,
    wait_until,
    webhook_receiver,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PASSWORD = "Prefect's password"
WEBHOOK = "the webhook's address"
GRID_FILE = "models/colorizer/grid.png"
NO_ARTIFACTS = {"/mlflow-artifacts/": 403}
"""What the proxy answers, by a part of the path."""
NO_SECRETS: Mapping[str, str] = MappingProxyType({})
WITH_TRACEBACK = {"COLORIZER_TRACEBACK": "1"}
TRACEBACK_MODES: tuple[dict[str, str], ...] = ({}, WITH_TRACEBACK) if FULL else (WITH_TRACEBACK,)
CANARIES = {
    "Kaggle's key": KEY,
    "Kaggle's token": TOKEN,
    "the signed address of Kaggle's storage": SIGNATURE,
    "a wrong Kaggle key": "canary-kaggle-5d1c/+wrong",
    "MLflow's password in the environment": "canary-mlflow-a71e/+environment",
    "MLflow's password in the address": "canary-mlflow-90fb/+address",
    "the password of the proxy": "canary-proxy-27d4/+address",
    PASSWORD: "canary-prefect-3c6a/+string",
    "a wrong Prefect password": "canary-prefect-b442/+wrong",
    WEBHOOK: "canary-webhook-e805-path",
}
SAVE_BLOCK = """
import os
from prefect.blocks.notifications import CustomWebhookNotificationBlock
CustomWebhookNotificationBlock(
    name="ops",
    url=os.environ["SERVER"] + "/{{path}}",
    secrets={"path": os.environ["HOOK"]},
    json_data={"title": "{{subject}}", "text": "{{body}}"},
).save("ops")
"""


def spellings(secret: str) -> set[bytes]:
    """The encodings of a secret: raw, URL-quoted, hexadecimal, base64 at any offset."""
    raw = secret.encode()
    found = {raw, urllib.parse.quote(secret, safe="").encode(), binascii.hexlify(raw)}
    for offset in range(3):  # the complete groups of three bytes, at each alignment
        inner = raw[(3 - offset) % 3 :]
        inner = inner[: len(inner) // 3 * 3]
        found |= {base64.b64encode(inner), base64.urlsafe_b64encode(inner)}
    return found


SPELLINGS = {form: name for name, secret in CANARIES.items() for form in spellings(secret)}


def find_canaries(data: bytes) -> set[str]:
    return {name for form, name in SPELLINGS.items() if form in data}


class Watcher:
    """Polls the arguments of every process while commands run."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.num_polls = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopped.wait(0.1):
            self.num_polls += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.found |= find_canaries(path.read_bytes())
                except OSError:
                    continue


class Recorder(NamedTuple):
    """A proxy that forwards nothing, and the requests that it received."""

    url: str
    requests: list[str]


@pytest.fixture(scope="module")
def blocking_proxy() -> Iterator[Recorder]:
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def refuse(self) -> None:
            requests.append(f"{self.command} {self.path}"[:200])
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "HEAD", "CONNECT"):
        setattr(Handler, f"do_{method}", Handler.refuse)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield Recorder(f"http://127.0.0.1:{listener.server_address[1]}", requests)
        listener.shutdown()


class Shell:
    """Runs commands in a clone with a user's environment and keeps their output."""

    def __init__(self, folder: Path, blocking_proxy: Recorder) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.outputs: dict[str, bytes] = {}
        word = urllib.parse.quote(CANARIES["the password of the proxy"], safe="")
        proxy = blocking_proxy.url.replace("http://", f"http://someone:{word}@")
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "http_proxy": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def run(
        self,
        clone: Clone,
        *command: str,
        fails: bool | None = False,
        secrets: Mapping[str, str] = NO_SECRETS,
    ) -> str:
        """Run a command to its end; ``fails``: whether it must (None: it may)."""
        done = subprocess.run(
            command,
            cwd=clone.folder,
            env=self.environment | {"PYTHONPATH": str(clone.folder)} | dict(secrets),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600,
        )
        output = done.stdout + done.stderr
        self.keep(command, output)
        text = output.decode(errors="replace")
        assert fails is None or bool(done.returncode) == fails, text[-3000:]
        return text

    def keep(self, command: Sequence[str], output: bytes) -> None:
        """Keep what a command printed, to be searched."""
        self.outputs[f"{len(self.outputs)} {' '.join(command)}"[:80]] = output

    def serve(self, clone: Clone, *command: str, secrets: Mapping[str, str]) -> None:
        """Run the studio, ask it for its state, and end it."""
        log_path = self.folder / "studio.log"
        port = free_port()
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--port", str(port)],
                cwd=clone.folder,
                env=self.environment | {"PYTHONPATH": str(clone.folder)} | dict(secrets),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(
                lambda: b"studio: http" in log_path.read_bytes(), 120, lambda: log_path.read_text()
            )
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
                self.keep((*command, "GET", "/health"), answer.read())
        finally:
            end(process)
        self.keep(command, log_path.read_bytes())


@pytest.fixture(scope="module")
def used_shell(tmp_path_factory: pytest.TempPathFactory, blocking_proxy: Recorder) -> Shell:
    """A shell in which every command that uses a secret has run."""
    folder = tmp_path_factory.mktemp("secrets")
    shell = Shell(folder, blocking_proxy)
    clone = make_small_clone(folder / "clone")
    with Watcher() as watcher:
        download(shell, clone)
        with mlflow_behind_proxy(shell) as proxy:
            train(shell, clone, proxy)
            use_registry(shell, clone, proxy)
            if FULL:
                use_all(shell, clone, proxy)
        register_without_server(shell, clone, proxy)
        retrain(shell, clone)
    assert watcher.num_polls > 100
    shell.outputs["process arguments"] = " ".join(
        CANARIES[name] for name in sorted(watcher.found)
    ).encode()
    return shell


def download(shell: Shell, clone: Clone) -> None:
    """Kaggle: a wrong key, then the right key, then a token."""
    sample = clone.copy_to(shell.folder / "sample")
    shell.run(sample, sys.executable, "-m", "pipeline_steps", "download")
    archive = (sample.folder / "data/raw/pairs.zip").read_bytes()
    clone.set_params({"download": {"source": "kaggle"}})
    stage = (sys.executable, "-m", "pipeline_steps", "download")
    kaggle = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLE_USERNAME": USERNAME}
    wrong = kaggle | {"KAGGLE_KEY": CANARIES["a wrong Kaggle key"]}
    with exclusive_port(), KaggleServer(archive) as server:
        shell.run(clone, *stage, fails=True, secrets=wrong)
        output = shell.run(clone, *stage, fails=True, secrets=wrong | WITH_TRACEBACK)
        assert "Traceback" in output
        shell.run(clone, "dvc", "repro", "download", secrets=kaggle | {"KAGGLE_KEY": KEY})
        shell.run(
            clone, "dvc", "repro", "-f", "download", secrets=kaggle | {"KAGGLE_API_TOKEN": TOKEN}
        )
        assert len(server.api_calls) >= 4


@contextmanager
def mlflow_behind_proxy(shell: Shell) -> Iterator[FaultyProxy]:
    """An MLflow server that asks for no password, and so accepts any, and a proxy before it."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{shell.folder}/mlflow.db"),
        *("--artifacts-destination", str(shell.folder / "artifacts")),
    ]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = shell.environment | off
    log_path = shell.folder / "mlflow.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command, cwd=shell.folder, env=environment, stdout=log, stderr=log
        )
    try:
        wait_until(
            lambda: b"startup complete" in log_path.read_bytes(), 180, lambda: log_path.read_text()
        )
        with faulty_proxy(port) as proxy:
            yield proxy
    finally:
        end(server)


def in_address(proxy: FaultyProxy) -> dict[str, str]:
    """The environment of a user whose password is in the address."""
    password = urllib.parse.quote(CANARIES["MLflow's password in the address"], safe="")
    return {"MLFLOW_TRACKING_URI": proxy.url.replace("http://", f"http://someone:{password}@")}


def in_variables(proxy: FaultyProxy) -> dict[str, str]:
    """The environment of a user whose password has a variable of its own."""
    return {
        "MLFLOW_TRACKING_URI": proxy.url,
        "MLFLOW_TRACKING_USERNAME": "someone",
        "MLFLOW_TRACKING_PASSWORD": CANARIES["MLflow's password in the environment"],
    }


def train(shell: Shell, clone: Clone, proxy: FaultyProxy) -> None:
    """MLflow: the stages, and a registration that isn't allowed to write artifacts."""
    shell.run(clone, "dvc", "repro", "evaluate", secrets=in_address(proxy))
    shell.run(clone, "dvc", "repro", secrets=in_variables(proxy))
    # the run's files are there, the model's are rejected
    shell.run(clone, sys.executable, "-m", "pipeline_steps", "deliver", secrets=in_address(proxy))
    proxy.answers = NO_ARTIFACTS
    for more in TRACEBACK_MODES:
        shell.run(clone, *REGISTER, fails=True, secrets=in_address(proxy) | more)
    proxy.answers = {}
    shell.run(clone, *REGISTER, secrets=in_variables(proxy))


def use_registry(shell: Shell, clone: Clone, proxy: FaultyProxy) -> None:
    """Colouring, the studio and a promotion, with artifacts and without."""
    python, address = sys.executable, in_address(proxy)
    (clone.folder / "sketch.png").write_bytes((clone.folder / GRID_FILE).read_bytes())
    model = ("--model", "models:/sketch-colorizer@candidate")
    colorize = (python, "-m", "colorizer", "sketch.png", "-o", "coloured.png", *model)
    proxy.answers = NO_ARTIFACTS
    shell.run(clone, *colorize, fails=True, secrets=address)
    shell.run(clone, python, "-m", "flows.promote", fails=None, secrets=address)
    shell.serve(clone, python, "-m", "colorizer", "studio", *model, secrets=address)
    proxy.answers = {}
    shell.run(clone, *colorize, secrets=address)
    shell.run(clone, python, "-m", "flows.history", secrets=address)
    shell.run(clone, python, "-m", "pipeline_steps", "summary", secrets=address)


def use_all(shell: Shell, clone: Clone, proxy: FaultyProxy) -> None:
    """The other commands, with artifacts and without."""
    python = sys.executable
    commands = (
        (python, "-m", "pipeline_steps", "evaluate"),
        (python, "-m", "pipeline_steps", "deliver"),
        (python, "-m", "flows.rollback"),
        (python, "-m", "flows.promote", "--unjudged", "by hand"),
        (python, "-m", "flows.history", "--csv"),
        (python, "-m", "flows.retrain", "--promote", "no"),
        (python, "-m", "pipeline_steps", "summary"),
    )
    clone.set_params({"evaluate": {"grid_pairs": 3}, "download": {"source": "sample"}})
    clone.commit()
    modes: tuple[tuple[Mode, dict[str, int]], ...] = (
        ("open", NO_ARTIFACTS),
        ("open", {}),
        ("gone", {}),
    )
    for proxy.mode, proxy.answers in modes:
        for command in commands:
            for secrets in (in_address(proxy), in_variables(proxy)):
                shell.run(clone, *command, fails=None, secrets=secrets | WITH_TRACEBACK)


def register_without_server(shell: Shell, clone: Clone, proxy: FaultyProxy) -> None:
    """Nothing answers at the address."""
    for secret in (in_address(proxy), in_variables(proxy)):
        for more in TRACEBACK_MODES:
            output = shell.run(clone, *REGISTER, fails=True, secrets=secret | more)
            assert "MLFLOW_TRACKING_URI" in output


def retrain(shell: Shell, clone: Clone) -> None:
    """Prefect: a successful run, a failed run that notifies the webhook, a wrong password."""
    clone.set_params({"download": {"source": "sample"}})
    clone.commit()
    command = (sys.executable, "-m", "flows.retrain", "--promote", "no")
    home = shell.folder / "prefect"
    home.mkdir()
    auth, path = f"admin:{CANARIES[PASSWORD]}", CANARIES[WEBHOOK]
    with webhook_receiver() as receiver, prefect_server(home, auth=auth) as server:
        client = {
            "PREFECT_API_URL": server.url,
            "PREFECT_API_AUTH_STRING": auth,
            "PREFECT_HOME": str(shell.folder / "prefect-client"),
        }
        hook = {"SERVER": receiver.url, "HOOK": path}
        shell.run(clone, sys.executable, "-c", SAVE_BLOCK, secrets=client | hook)
        notify = ("-m", "flows.ui.automations", "--notify", "custom-webhook/ops")
        shell.run(clone, sys.executable, *notify, secrets=client)
        if FULL:
            shell.run(clone, *command, secrets=client)
        no_source = ("download.source=archive", "download.path=missing.zip")
        shell.run(clone, *command, *no_source, fails=True, secrets=client)
        wait_until(lambda: bool(receiver.received), 60, lambda: "the webhook received nothing")
        wrong = client | {
            "PREFECT_API_AUTH_STRING": f"admin:{CANARIES['a wrong Prefect password']}"
        }
        for more in TRACEBACK_MODES:
            shell.run(clone, *command, fails=True, secrets=wrong | more)


def place_of(file: Path) -> str:
    """The folder of the shell, or of a clone in it, that a file is in; its name without one."""
    depth = 2 if file.parts[0] in ("clone", "sample") else 1
    return "/".join(file.parent.parts[:depth]) or file.name


@pytest.mark.parametrize("name", CANARIES)
def test_a_secret_is_found_in_every_encoding(name: str) -> None:
    """Control: without it, the search could find nothing because it is wrong."""
    secret = CANARIES[name]
    for prefix in ("", "u", "us"):
        text = f"{prefix}{secret}:".encode()
        for form in (text, base64.b64encode(text), binascii.hexlify(text)):
            assert name in find_canaries(b"said: " + form + b"...")
    assert name in find_canaries(urllib.parse.quote(secret, safe="").encode())


def test_no_secret_is_written_anywhere(used_shell: Shell) -> None:
    found = {
        command: (names, data)
        for command, data in used_shell.outputs.items()
        if (names := find_canaries(data))
    }
    num_files: Counter[str] = Counter()
    for folder, folders, files in os.walk(used_shell.folder):
        folders[:] = [
            name for name in folders if name not in ("tests", ".git")
        ]  # they contain the canaries
        for file in files:
            path = Path(folder) / file
            if path.is_symlink() or not path.is_file():
                continue
            num_files[place_of(path.relative_to(used_shell.folder))] += 1
            if names := find_canaries(path.read_bytes()):
                found[str(path.relative_to(used_shell.folder))] = (names, b"")
    assert not found
    assert {"mlflow.db", "prefect", "clone/.work", "clone/.dvc", "clone/reports"} <= set(num_files)
    report(
        f"canaries: {len(CANARIES)} planted ({len(SPELLINGS)} spellings), 0 found in the output of"
        f" {len(used_shell.outputs) - 1} commands, {num_files.total()} files in {len(num_files)}"
        " places and all process arguments"
    )


def test_no_command_sends_a_request_outside_loopback(
    used_shell: Shell, blocking_proxy: Recorder
) -> None:
    assert used_shell.outputs
    assert blocking_proxy.requests == []
    control = "import urllib.request; urllib.request.urlopen('http://stats.example/')"
    subprocess.run([sys.executable, "-c", control], env=used_shell.environment, timeout=60)
    assert blocking_proxy.requests == ["GET http://stats.example/"]
    report(
        f"telemetry: 0 requests by {len(used_shell.outputs) - 1} commands to anything but loopback"
    )
