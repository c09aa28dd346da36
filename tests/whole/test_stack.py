"""``python -m deploy.stack``: a team's servers from nothing to a champion that colours a sketch."""

import io
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image

from colorizer.base.redaction import is_secret_name
from deploy.database_cluster import find_binaries
from deploy.passwords import read_env_file
from tests.whole.clone import Clone, make_small_clone
from tests.whole.prefect_stack import PrefectServer, tail, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

UP_S = 400.0
RUN_S = 500.0
END_S = 90.0
SERVICES = ["postgres", "s3", "bucket", "mlflow", "prefect", "deployments", "worker", "studio"]
NAMES = ["POSTGRES", "S3", "S3_MASTER", "S3_VOLUME", "S3_FILER", "MLFLOW", "PREFECT", "WORKER"]
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class TeamStack:
    """A small clone whose stack is started, on ports of its own."""

    def __init__(self, clone: Clone, log_path: Path) -> None:
        self.clone = clone
        self.log_path = log_path
        self.ports = {f"{name}_PORT": str(free_low_port()) for name in (*NAMES, "STUDIO")}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'{name}_PORT']}"

    @property
    def client(self) -> dict[str, str]:
        """What the printed command sets in a person's shell, at this stack's ports."""
        passwords = read_env_file(self.clone.folder / "deploy" / ".env")
        return passwords | {
            "AWS_ENDPOINT_URL_S3": self.url("S3"),
            "MLFLOW_TRACKING_URI": self.url("MLFLOW"),
            "PREFECT_API_URL": f"{self.url('PREFECT')}/api",
            "NO_PROXY": "127.0.0.1",
        }

    @contextmanager
    def start(self) -> Iterator["subprocess.Popen[bytes]"]:
        with self.log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.stack"],
                cwd=self.clone.folder,
                env=self.clone.environment | self.ports | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def is_up() -> bool:
            assert process.poll() is None, self.printed()
            return "up after" in self.printed()

        family: list[psutil.Process] = []
        try:
            wait_until(is_up, UP_S, self.printed)
            family = psutil.Process(process.pid).children(recursive=True)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(END_S)
            _, orphans = psutil.wait_procs(family, 5)
            names = [orphan.name() for orphan in orphans]
            for orphan in orphans:
                with suppress(psutil.NoSuchProcess):
                    orphan.kill()
            assert names == []

    def printed(self) -> str:
        return self.log_path.read_text()


def free_low_port() -> int:
    """A free port whose gRPC twin, 10,000 above, is free as well; none that a client may get."""
    while True:
        port = random.randint(12000, 22000)
        with socket.socket() as probe, socket.socket() as twin, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            twin.bind(("127.0.0.1", port + 10000))
            return port


@pytest.fixture
def team() -> Iterator[TeamStack]:
    if find_binaries() is None or shutil.which("wget") is None:
        pytest.skip("needs PostgreSQL's programs and wget")
    # as root, PostgreSQL runs as nobody, who can't read pytest's folders
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    folder.chmod(0o755)
    try:
        yield TeamStack(make_small_clone(folder / "clone"), folder / "stack.log")
    finally:
        shutil.rmtree(folder)


def test_from_data_in_the_bucket_to_a_champion_that_the_studio_serves(team: TeamStack) -> None:
    clone = team.clone
    clone.dvc("remote", "add", "-d", "bucket", "s3://colorizer/dvc")
    clone.commit()
    with team.start():
        started = re.findall(r"^(\w+) +[\d.]+ s", team.printed(), re.MULTILINE)
        assert sorted(started) == sorted(SERVICES)
        env_file = clone.folder / "deploy" / ".env"
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        assert clone.run("git", "status", "--porcelain").stdout == ""

        # a person's shell: data to the bucket; the worker has none of it
        clone.run("dvc", "repro", "prepare", environment=team.client)
        clone.run("dvc", "push", environment=team.client)
        clone.commit()
        shutil.rmtree(clone.folder / ".dvc" / "cache")

        server = PrefectServer(
            team.client["PREFECT_API_URL"],
            os.environ | team.client,
            clone.folder / ".stack" / "log" / "prefect.log",
        )
        run = server.start_run("retrain/retrain", share=True)
        ended = server.wait_for_state(run, TERMINAL, RUN_S)
        assert ended.type == "COMPLETED", (ended, tail(server.log_path))
        tasks = server.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        names = {task["name"].partition("-")[0]: task["state"]["name"] for task in tasks}
        assert (names["prepare"], names["train"]) == ("Cached", "Completed")
        promoted = server.start_run("promote/promote", version="1", unjudged="the first one")
        ended = server.wait_for_state(promoted, TERMINAL, RUN_S)
        assert ended.type == "COMPLETED", ended

        def is_served() -> bool:
            health = requests.get(f"{team.url('STUDIO')}/health", timeout=30).json()
            return "champion" in health["models"]

        wait_until(is_served, 60, team.printed)
        (model, *_) = requests.get(f"{team.url('STUDIO')}/model", timeout=30).json()
        assert (model["name"], model["label"]) == ("champion", "sketch-colorizer version 1")
        assert colour(team.url("STUDIO")).size == (32, 32)
        stored = list_bucket(team)
        assert any(key.startswith("dvc/files/md5/") for key in stored)
        assert any(key.startswith("dvc/runs/") for key in stored)  # the worker's
        assert any(key.startswith("mlflow/") and key.endswith("model.onnx") for key in stored)
        secrets = [value for name, value in team.client.items() if is_secret_name(name)]
        logs = [*(clone.folder / ".stack" / "log").iterdir(), team.log_path]
        assert not [log for log in logs for secret in secrets if secret in log.read_text()]


def colour(studio: str) -> Image.Image:
    """Have the page's API colour a blank sketch."""
    assert requests.get(f"{studio}/", timeout=30).status_code == 200
    sketch = io.BytesIO()
    Image.new("L", (32, 32), 255).save(sketch, "PNG")
    answer = requests.post(
        f"{studio}/colorize",
        data=sketch.getvalue(),
        headers={"Content-Type": "image/png"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def list_bucket(team: TeamStack) -> list[str]:
    """The keys of all objects in the bucket."""
    import boto3

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=team.url("S3"),
        aws_access_key_id=team.client["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=team.client["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="colorizer")
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
