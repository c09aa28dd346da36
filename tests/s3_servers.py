"""S3 servers on loopback: moto's, in this process, for quick tests; SeaweedFS, to be killed.

``with moto_server() as store:`` or ``with seaweedfs(folder) as store:``; ``store.environment`` is
what a client's process needs, ``store.use(monkeypatch)`` sets it in this one.
"""

import json
import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.whole.prefect_stack import END_S, free_port, require_running, tail, wait_until

ACCESS_KEY = "testkey"
SECRET_KEY = "a-secret-of-tests"
BUCKET = "pairs"
START_S = 60.0
WEED = Path(sys.executable).with_name("weed")
_CLIENT_SETTINGS = ("AWS_", "MLFLOW_S3_", "BOTO_")


@dataclass
class S3Server:
    """A server's address, and the environment of its clients."""

    url: str
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the environment of a client in this process."""
        for name in [name for name in os.environ if name.startswith(_CLIENT_SETTINGS)]:
            monkeypatch.delenv(name)
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def make_bucket(self, name: str = BUCKET) -> None:
        """Create an empty bucket."""
        import boto3

        boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        ).create_bucket(Bucket=name)


@contextmanager
def moto_server(bucket: str = BUCKET) -> Iterator[S3Server]:
    """Moto's server in a thread, with a bucket. It keeps all in memory, and takes any key."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        store = S3Server(f"http://{host}:{port}")
        request = urllib.request.Request(f"{store.url}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()  # its memory is that of the process
        store.make_bucket(bucket)
        yield store
    finally:
        server.stop()


class SeaweedFS(S3Server):
    """One process with all of SeaweedFS's servers; killed, it starts again with its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_path = folder / "weed.log"
        self._s3_port = free_port()
        super().__init__(f"http://127.0.0.1:{self._s3_port}")
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(exist_ok=True)
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identities = [{"name": "test", "credentials": credentials, "actions": actions}]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        # the ports stay the same when it is started again: it has written them down
        others = ("master", "volume", "filer")
        http = {name: free_port() for name in others}
        self._master_port = http["master"]
        ports = [f"-{name}.port={port}" for name, port in http.items()]
        grpc = {name: free_port() for name in (*others, "s3")}
        ports += [f"-{name}.port.grpc={port}" for name, port in grpc.items()]
        self._sockets = [
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in grpc.items()
        ]
        self._command = [
            *(str(WEED), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"),
            *("-filer", "-s3", "-s3.config=s3.json", f"-s3.port={self._s3_port}", *ports),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            # each bucket takes 7 volumes; 0: as many as the disk has room for
            *("-volume.max=0", "-master.volumeSizeLimitMB=256"),
            # by default 10 s, in which a master that starts again knows no leader
            "-master.electionTimeout=1s",
            *(f"-{name}.localSocket={folder}/{name}.sock" for name in ("filer", "s3")),
        ]

    def start(self) -> float:
        """Start it, and wait until it accepts files; return the seconds that this took."""
        began_s = time.monotonic()
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(self._command, cwd=self.folder, stdout=log, stderr=log)
        self._process = process

        def responds() -> bool:
            require_running(process, self.log_path)
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
                return self._knows_its_volumes()
            except OSError:
                return False

        wait_until(responds, START_S, lambda: f"no answer:\n{tail(self.log_path)}")
        return time.monotonic() - began_s

    def _knows_its_volumes(self) -> bool:
        """After a start it answers 500 to reads, for seconds, until volumes have reported."""
        for file in (self.folder / "data").glob("*.dat"):
            number = file.stem.rpartition("_")[2]
            lookup = f"http://127.0.0.1:{self._master_port}/dir/lookup?volumeId={number}"
            urllib.request.urlopen(lookup, timeout=5).close()  # 404 if it has not
        return True

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(END_S)
        for path in self._sockets:
            path.unlink(missing_ok=True)


@contextmanager
def seaweedfs(folder: Path, bucket: str = BUCKET) -> Iterator[SeaweedFS]:
    """A running SeaweedFS that keeps its files in ``folder``, with a bucket."""
    store = SeaweedFS(folder)
    try:
        store.start()
        store.make_bucket(bucket)
        yield store
    finally:
        store.kill()
