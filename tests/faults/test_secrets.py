"""Canaries for every secret, through good runs and bad: nothing written holds one, nobody is told.

The commands run as a person's shell would run them, not as pytest's children look: MLflow's and
others' telemetry is off under pytest by itself, which would prove nothing.
"""

import base64
import binascii
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.faults.report import FULL, tell
from tests.pipeline_steps.download.kaggle_server import (
    KEY,
    SIGNATURE,
    TOKEN,
    USERNAME,
    KaggleServer,
    own_port,
)
from tests.whole.clone import Clone, make_small_clone
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
NONE: Mapping[str, str] = MappingProxyType({})
LOUD = {"COLORIZER_TRACEBACK": "1"}
QUIET_AND_LOUD: tuple[dict[str, str], ...] = ({}, LOUD) if FULL else (LOUD,)
CANARIES = {
    "Kaggle's key": KEY,
    "Kaggle's token": TOKEN,
    "the signed address of Kaggle's storage": SIGNATURE,
    "a wrong Kaggle key": "canary-kaggle-5d1c/+wrong",
    "MLflow's password in the environment": "canary-mlflow-a71e/+environment",
    "MLflow's password in the address": "canary-mlflow-90fb/+address",
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
    """How a secret may be written: raw, quoted for an address, hexadecimal, base64 anywhere."""
    raw = secret.encode()
    found = {raw, urllib.parse.quote(secret, safe="").encode(), binascii.hexlify(raw)}
    for offset in range(3):  # the whole groups of three bytes, wherever they begin
        inner = raw[(3 - offset) % 3 :]
        inner = inner[: len(inner) // 3 * 3]
        found |= {base64.b64encode(inner), base64.urlsafe_b64encode(inner)}
    return found


SPELLINGS = {form: name for name, secret in CANARIES.items() for form in spellings(secret)}


def find_canaries(data: bytes) -> set[str]:
    return {name for form, name in SPELLINGS.items() if form in data}


class Watcher:
    """Looks at the arguments of every process while commands run."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.num_looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.num_looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.found |= find_canaries(path.read_bytes())
                except OSError:
                    continue


class Recorder(NamedTuple):
    """A proxy that leads nowhere, and what it was asked for."""

    url: str
    asked: list[str]


@pytest.fixture(scope="module")
def outside() -> Iterator[Recorder]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def refuse(self) -> None:
            asked.append(f"{self.command} {self.path}"[:200])
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "HEAD", "CONNECT"):
        setattr(Handler, f"do_{method}", Handler.refuse)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield Recorder(f"http://127.0.0.1:{listener.server_address[1]}", asked)
        listener.shutdown()


class Shell:
    """A person's shell in a clone: runs commands, keeps all that they say."""

    def __init__(self, folder: Path, outside: Recorder) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.said: dict[str, bytes] = {}
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "HTTP_PROXY": outside.url,
            "HTTPS_PROXY": outside.url,
            "http_proxy": outside.url,
            "https_proxy": outside.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def run(
        self,
        clone: Clone,
        *command: str,
        fails: bool = False,
        secrets: Mapping[str, str] = NONE,
    ) -> str:
        done = subprocess.run(
            command,
            cwd=clone.folder,
            env=self.environment | {"PYTHONPATH": str(clone.folder)} | dict(secrets),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600,
        )
        said = done.stdout + done.stderr
        self.said[f"{len(self.said)} {' '.join(command)}"[:80]] = said
        assert bool(done.returncode) == fails, said.decode(errors="replace")[-3000:]
        return said.decode(errors="replace")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, outside: Recorder) -> Shell:
    """All that our commands do with secrets, done."""
    folder = tmp_path_factory.mktemp("secrets")
    shell = Shell(folder, outside)
    clone = make_small_clone(folder / "clone")
    with Watcher() as watcher:
        download(shell, clone)
        train(shell, clone)
        retrain(shell, clone)
    assert watcher.num_looks > 100
    shell.said["process arguments"] = " ".join(
        CANARIES[name] for name in sorted(watcher.found)
    ).encode()
    return shell


def download(shell: Shell, clone: Clone) -> None:
    """Kaggle: refused for the wrong key, then let in by key, then by token."""
    sample = clone.copy_to(shell.folder / "sample")
    shell.run(sample, sys.executable, "-m", "pipeline_steps", "download")
    archive = (sample.folder / "data/raw/pairs.zip").read_bytes()
    clone.set_params({"download": {"source": "kaggle"}})
    stage = (sys.executable, "-m", "pipeline_steps", "download")
    kaggle = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLE_USERNAME": USERNAME}
    wrong = kaggle | {"KAGGLE_KEY": CANARIES["a wrong Kaggle key"]}
    with own_port(), KaggleServer(archive) as server:
        shell.run(clone, *stage, fails=True, secrets=wrong)
        loud = shell.run(clone, *stage, fails=True, secrets=wrong | LOUD)
        assert "Traceback" in loud
        shell.run(clone, "dvc", "repro", "download", secrets=kaggle | {"KAGGLE_KEY": KEY})
        shell.run(
            clone, "dvc", "repro", "-f", "download", secrets=kaggle | {"KAGGLE_API_TOKEN": TOKEN}
        )
        assert len(server.api_calls) >= 4


def train(shell: Shell, clone: Clone) -> None:
    """MLflow: password in the environment, in the address, and with no server there."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{shell.folder}/server.db"),
        *("--artifacts-destination", str(shell.folder / "artifacts")),
    ]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = shell.environment | off
    log_path = shell.folder / "mlflow.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command, cwd=shell.folder, env=environment, stdout=log, stderr=log
        )
    password = urllib.parse.quote(CANARIES["MLflow's password in the address"], safe="")
    address = {"MLFLOW_TRACKING_URI": f"http://someone:{password}@127.0.0.1:{port}"}
    pair = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_TRACKING_USERNAME": "someone",
        "MLFLOW_TRACKING_PASSWORD": CANARIES["MLflow's password in the environment"],
    }
    stage = (sys.executable, "-m", "pipeline_steps", "register")
    try:
        wait_until(
            lambda: b"startup complete" in log_path.read_bytes(), 180, lambda: log_path.read_text()
        )
        shell.run(clone, "dvc", "repro", "evaluate", secrets=address)
        shell.run(clone, "dvc", "repro", secrets=pair)
        shell.run(clone, *stage, secrets=pair)
    finally:
        end(server)
    for secret in (address, pair):
        for more in QUIET_AND_LOUD:
            told = shell.run(clone, *stage, fails=True, secrets=secret | more)
            assert "MLFLOW_TRACKING_URI" in told


def retrain(shell: Shell, clone: Clone) -> None:
    """Prefect: a good run, one that fails and is told to the webhook, and a wrong password."""
    clone.set_params({"download": {"source": "sample"}})
    clone.commit()
    command = (sys.executable, "-m", "flows.retrain", "--promote", "no")
    home = shell.folder / "prefect"
    home.mkdir()
    auth, path = f"admin:{CANARIES[PASSWORD]}", CANARIES[WEBHOOK]
    with webhook_receiver() as receiver, prefect_server(home, auth=auth) as server:
        ours = {
            "PREFECT_API_URL": server.url,
            "PREFECT_API_AUTH_STRING": auth,
            "PREFECT_HOME": str(shell.folder / "prefect-client"),
        }
        hook = {"SERVER": receiver.url, "HOOK": path}
        shell.run(clone, sys.executable, "-c", SAVE_BLOCK, secrets=ours | hook)
        notify = ("-m", "flows.ui.automations", "--notify", "custom-webhook/ops")
        shell.run(clone, sys.executable, *notify, secrets=ours)
        if FULL:
            shell.run(clone, *command, secrets=ours)
        shell.run(clone, *command, "train.batch_size=0", fails=True, secrets=ours)
        wait_until(lambda: bool(receiver.received), 60, lambda: "the webhook was not told")
        wrong = ours | {"PREFECT_API_AUTH_STRING": f"admin:{CANARIES['a wrong Prefect password']}"}
        for more in QUIET_AND_LOUD:
            shell.run(clone, *command, fails=True, secrets=wrong | more)


@pytest.mark.parametrize("name", CANARIES)
def test_every_spelling_is_found(name: str) -> None:
    """A search that finds nothing proves nothing, unless it can find."""
    secret = CANARIES[name]
    for prefix in ("", "u", "us"):
        text = f"{prefix}{secret}:".encode()
        for form in (text, base64.b64encode(text), binascii.hexlify(text)):
            assert name in find_canaries(b"said: " + form + b"...")
    assert name in find_canaries(urllib.parse.quote(secret, safe="").encode())


def test_no_secret_is_written_anywhere(lived: Shell) -> None:
    found = {
        said: (names, data) for said, data in lived.said.items() if (names := find_canaries(data))
    }
    num_files = 0
    for folder, folders, files in os.walk(lived.folder):
        folders[:] = [name for name in folders if name not in ("tests", ".git")]  # has them itself
        for file in files:
            path = Path(folder) / file
            if path.is_symlink() or not path.is_file():
                continue
            num_files += 1
            if names := find_canaries(path.read_bytes()):
                found[str(path.relative_to(lived.folder))] = (names, b"")
    assert not found
    tell(
        f"canaries: {len(CANARIES)} planted ({len(SPELLINGS)} spellings), 0 found in what"
        f" {len(lived.said) - 1} commands said, {num_files} files and all process arguments"
    )


def test_nobody_outside_is_asked(lived: Shell, outside: Recorder) -> None:
    assert lived.said
    assert outside.asked == []
    control = "import urllib.request; urllib.request.urlopen('http://stats.example/')"
    subprocess.run([sys.executable, "-c", control], env=lived.environment, timeout=60)
    assert outside.asked == ["GET http://stats.example/"]
    tell(f"telemetry: 0 requests by {len(lived.said) - 1} commands to anything but loopback")
