"""An HTTP proxy on loopback that simulates a slow, unresponsive, stopped or rejecting server."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Mode = Literal["open", "gone", "mute", "slow", "no artifacts"]
DELAY_S = 2.0
MUTE_S = 120.0
ARTIFACTS = "/mlflow-artifacts/"
"""In the path of a request for an artifact, which the mode ``no artifacts`` rejects."""
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class FaultyProxy:
    """The proxy's address and its current mode."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mode: Mode = "open"
        self.released = threading.Event()


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Forward requests to a port on loopback; the tests change ``mode``."""
    proxy = FaultyProxy("")

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def handle_one_request(self) -> None:
            super().handle_one_request()
            self.close_connection = True

        def forward(self) -> None:
            if proxy.mode == "mute":
                proxy.released.wait(MUTE_S)
            if proxy.mode in ("gone", "mute"):
                self.connection.close()
                return
            if proxy.mode == "slow":
                time.sleep(DELAY_S)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.mode == "no artifacts" and ARTIFACTS in self.path:
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            self.send_response(response.status)
            for key, value in response.getheaders():
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
