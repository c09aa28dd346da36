"""Prefect's server accepts its own hosts and origins and refuses those of other sites."""

import asyncio
import subprocess
import sys

import pytest

from colorizer.studio.same_site import Message, Receive, Send, close_to_other_sites

OWN = ("127.0.0.1", "localhost")
HOST = "127.0.0.1:4200"


def send_request(kind: str, *headers: tuple[str, str]) -> int:
    """Send a request of a kind (http, websocket) with these headers; return its status."""
    sent: list[Message] = []

    async def server(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": "POST",
        "path": "/",
        "scheme": "http",
        "headers": [(name.lower().encode(), text.encode()) for name, text in headers],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(close_to_other_sites(server, OWN)(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        (HOST, None, 200),
        ("localhost:4200", None, 200),
        (HOST, "http://127.0.0.1:4200", 200),
        (HOST, "http://localhost:4200", 200),
        ("evil.example", None, 400),
        ("evil.example", "http://evil.example", 400),
        ("127.0.0.1.evil.example:4200", None, 400),
        (HOST, "http://evil.example", 403),
        (HOST, "http://127.0.0.1:8000", 403),
        (HOST, "http://127.0.0.1:4200.evil.example", 403),
        (HOST, "http://127.0.0.1:4200@evil.example", 403),
        (HOST, "null", 403),
        (HOST, "", 403),
    ],
)
def test_own_hosts_and_origins_are_accepted(
    kind: str, host: str, origin: str | None, status: int
) -> None:
    headers = [("Host", host)] + ([] if origin is None else [("Origin", origin)])
    assert send_request(kind, *headers) == status


def test_one_foreign_origin_among_two_is_refused() -> None:
    origins = [("Origin", "http://127.0.0.1:4200"), ("Origin", "http://evil.example")]
    assert send_request("http", ("Host", HOST), *origins) == 403


def test_listening_on_all_interfaces_without_a_password_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.ui.server", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "set PREFECT_SERVER_API_AUTH_STRING" in done.stderr
