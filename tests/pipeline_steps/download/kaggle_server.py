"""A loopback server with the part of Kaggle's API that a download uses.

``KAGGLE_API_ENVIRONMENT=TEST`` sends the real client here. The API redirects to a "storage" on
another host name, as Kaggle does, so that credentials must not follow.
"""

import base64
import fcntl
import json
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

PORT = 7777  # fixed in kagglesdk/kaggle_env.py
USERNAME = "someone"
KEY = "0123456789abcdef-secret-key"
TOKEN = "KGAT_secret-token"
SIGNATURE = "signature-of-the-storage-address"

PIECE_BYTES = 16 * 1024


@contextmanager
def exclusive_port() -> Iterator[None]:
    """Wait until no other test process uses this port; a killed process releases its lock.

    A pytest-xdist group isn't enough: version 3.8 ignores groups under pytest 9.2, and
    concurrent test runs don't share groups.
    """
    with (Path(tempfile.gettempdir()) / f"kaggle-port-{PORT}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Reply:
    """Send this response instead."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Cut:
    """Send this many bytes of the body, then close the connection."""

    after_bytes: int


@dataclass(frozen=True)
class Stall:
    """Send this many bytes of the body, then nothing until the server is released."""

    after_bytes: int


Fault = Reply | Cut | Stall | None


@dataclass
class StorageCall:
    """A request to the storage and the response."""

    first_byte: int
    authorization: str | None
    num_bytes_sent: int = 0


class KaggleServer(ThreadingHTTPServer):
    """One dataset's archive behind Kaggle's API; ``with KaggleServer(archive) as server:``."""

    daemon_threads = True

    def __init__(self, archive: bytes, *, version: int = 1) -> None:
        self.archive = archive
        self.version = version
        self.hashes: dict[str, str] = {}
        self.claimed_bytes: int | None = None
        self.sends_length = True
        self.ignores_range = False
        self.etag: str | None = None
        self.api_faults: Iterator[Fault] = iter(())
        self.storage_faults: Iterator[Fault] = iter(())
        self.api_calls: list[str] = []
        self.asked_versions: list[int | None] = []
        self.storage_calls: list[StorageCall] = []
        self.released = threading.Event()
        super().__init__(("127.0.0.1", PORT), _Handler)

    def __enter__(self) -> "KaggleServer":
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def fail(self, *, api: Iterable[Fault] = (), storage: Iterable[Fault] = ()) -> None:
        """Apply these faults to the next calls; ``None`` is no fault."""
        self.api_faults, self.storage_faults = iter(api), iter(storage)

    @property
    def num_body_bytes_sent(self) -> int:
        return sum(call.num_bytes_sent for call in self.storage_calls)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Don't print the errors of closed connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20.0
    server: KaggleServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.rpartition("/")[2]
        self.server.api_calls.append(method)
        fault = next(self.server.api_faults, None)
        if isinstance(fault, Reply):
            self._reply(fault)
        elif not self._is_signed_in():
            # A badly behaved server repeats the request's headers in its message.
            self._reply_json(401, code=401, message=f"who is {self.headers['Authorization']}?")
        elif method == "GetDataset":
            self._reply_json(200, ref="x/y", currentVersionNumber=self.server.version)
        elif method == "DownloadDataset":
            self.server.asked_versions.append(request.get("datasetVersionNumber"))
            storage = f"http://127.0.0.1:{PORT}/storage?X-Goog-Signature={SIGNATURE}"
            self._reply(Reply(302, {"Location": storage}))
        else:
            self._reply_json(404, code=404, message="no such method")

    def do_GET(self) -> None:
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first_byte = int(requested[1]) if requested and not self.server.ignores_range else 0
        call = StorageCall(first_byte, self.headers["Authorization"])
        self.server.storage_calls.append(call)
        fault = next(self.server.storage_faults, None)
        if isinstance(fault, Reply):
            self._reply(fault)
        elif requested and first_byte >= len(self.server.archive):
            self._reply(Reply(416))
        else:
            self._send_archive_headers(first_byte)
            self._send_body(self.server.archive[first_byte:], call, fault)

    def _is_signed_in(self) -> bool:
        basic = base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
        return self.headers["Authorization"] in {f"Basic {basic}", f"Bearer {TOKEN}"}

    def _send_archive_headers(self, first_byte: int) -> None:
        num_bytes = self.server.claimed_bytes or len(self.server.archive)
        self.send_response(206 if first_byte else 200)
        if first_byte:
            self.send_header("Content-Range", f"bytes {first_byte}-{num_bytes - 1}/{num_bytes}")
        if self.server.sends_length:
            self.send_header("Content-Length", str(num_bytes - first_byte))
        self.send_header("Content-Type", "application/zip")
        self.send_header("Accept-Ranges", "bytes")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        for name, value in self.server.hashes.items():
            self.send_header("x-goog-hash", f"{name}={value}")
        self.end_headers()

    def _send_body(self, body: bytes, call: StorageCall, fault: Cut | Stall | None) -> None:
        end = min(fault.after_bytes, len(body)) if fault else len(body)
        for start in range(0, end, PIECE_BYTES):
            piece = body[start : min(start + PIECE_BYTES, end)]
            call.num_bytes_sent += len(piece)
            self.wfile.write(piece)
        if isinstance(fault, Stall):
            self.server.released.wait()
        self.close_connection = bool(fault) or not self.server.sends_length

    def _reply_json(self, status: int, **body: Any) -> None:
        headers = {"Content-Type": "application/json"}
        self._reply(Reply(status, headers, json.dumps(body).encode()))

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
