"""An HTTP proxy on loopback: a slow, mute, stopped or rejecting server, with body limits."""

import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, NamedTuple

from tests.s3_servers import BUCKET, S3Server
from tests.whole.prefect_stack import end, free_port, require_running, wait_until

Mode = Literal["open", "gone", "mute", "slow"]
DELAY_S = 2.0
MUTE_S = 120.0
LINGER_S = 30.0
"""How long a refused body is still read, as nginx does (``lingering_time``)."""
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Request(NamedTuple):
    """What the proxy received and answered."""

    method: str
    path: str
    num_bytes: int
    """Of the body, as announced."""
    status: int


class FaultyProxy:
    """The proxy's address, and how it behaves at present."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mode: Mode = "open"
        self.released = threading.Event()
        self.max_body_bytes: int | None = None
        """A larger body is refused with 413, as by nginx's ``client_max_body_size``."""
        self.closes_early = False
        """Close the connection right after that answer, without reading the body."""
        self.answers: dict[str, int] = {}
        """Part of a path → the status that it is answered with, instead of being forwarded."""
        self.answer_body = "<html><h1>no</h1></html>"
        self.store_s = 0.0
        """How long the server behind takes, at least, to answer a slow PUT."""
        self.slow_from_bytes = 0
        """The size from which on a PUT is slow."""
        self.gateway_timeout_s: float | None = None
        """What isn't answered by then is answered 504; the server behind works on."""
        self.requests: list[Request] = []
        self.num_connections = 0

    def num_puts(self, name: str) -> int:
        """How often a file of this name was sent."""
        return sum(each.method == "PUT" and each.path.endswith(name) for each in self.requests)


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Forward requests to a port on loopback; the tests change the attributes."""
    proxy = FaultyProxy("")

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def handle_one_request(self) -> None:
            super().handle_one_request()
            self.close_connection = True

        def forward(self) -> None:
            proxy.num_connections += 1
            if proxy.mode == "mute":
                proxy.released.wait(MUTE_S)
            if proxy.mode in ("gone", "mute"):
                self.connection.close()
                return
            if proxy.mode == "slow":
                time.sleep(DELAY_S)
            num_bytes = int(self.headers.get("Content-Length") or 0)
            planned = [code for part, code in proxy.answers.items() if part in self.path]
            if proxy.max_body_bytes is not None and num_bytes > proxy.max_body_bytes:
                self.answer(413, num_bytes)
                if not proxy.closes_early:
                    self.linger(num_bytes)
                return
            body = self.rfile.read(num_bytes)
            if planned:
                self.answer(planned[0], num_bytes)
                return
            self.pass_on(body)

        def answer(self, status: int, num_bytes: int) -> None:
            proxy.requests.append(Request(self.command, self.path, num_bytes, status))
            content = proxy.answer_body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

        def linger(self, num_bytes: int) -> None:
            self.connection.settimeout(LINGER_S)
            while num_bytes > 0 and (block := self.rfile.read(min(num_bytes, 1 << 20))):
                num_bytes -= len(block)

        def pass_on(self, body: bytes) -> None:
            answers: list[tuple[int, list[tuple[str, str]], bytes]] = []
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}

            def ask() -> None:
                if self.command == "PUT" and len(body) >= proxy.slow_from_bytes:
                    proxy.released.wait(proxy.store_s)
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                with closing(connection), suppress(OSError, http.client.HTTPException):
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    answers.append((response.status, response.getheaders(), response.read()))

            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            asking.join(proxy.gateway_timeout_s)
            if asking.is_alive():
                self.answer(504, len(body))
                return
            if not answers:  # no server is behind it
                return
            status, received, content = answers[0]
            proxy.requests.append(Request(self.command, self.path, len(body), status))
            self.send_response(status)
            for key, value in received:
                if key.lower() not in _HOP_BY_HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Don't print the errors of connections whose client was killed."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        proxy.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            listener.shutdown()
            thread.join(10)


@contextmanager
def mlflow_behind_proxy(folder: Path, store: S3Server | None = None) -> Iterator[FaultyProxy]:
    """A real MLflow server behind a proxy; it keeps files in ``folder``, or in a bucket."""
    files = str(folder / "artifacts") if store is None else f"s3://{BUCKET}/proxied"
    port, log_path = free_port(), folder / "server.log"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", files),
    ]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = os.environ | off | (store.environment if store else {})
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        with faulty_proxy(port) as proxy:

            def responds() -> bool:
                require_running(server, log_path)
                try:
                    urllib.request.urlopen(f"{proxy.url}/health", timeout=5).close()
                except OSError:
                    return False
                return True

            wait_until(responds, 180, lambda: log_path.read_text(errors="replace")[-2000:])
            yield proxy
    finally:
        end(server)
