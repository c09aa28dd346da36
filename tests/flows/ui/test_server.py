"""Who gets through to Prefect's server: its own pages and programs, no other site's."""

import asyncio
import subprocess
import sys

import pytest

from colorizer.studio.same_site import Message, Receive, Send, close_to_other_sites

OWN = ("127.0.0.1", "localhost")
HOST = "127.0.0.1:4200"


def ask(kind: str, *headers: tuple[str, str]) -> int:
    """The status that a request of a kind (http, websocket) with these headers gets; 200 passes."""
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
def test_own_names_and_origins_pass(kind: str, host: str, origin: str | None, status: int) -> None:
    headers = [("Host", host)] + ([] if origin is None else [("Origin", origin)])
    assert ask(kind, *headers) == status


def test_one_foreign_origin_among_two_is_refused() -> None:
    origins = [("Origin", "http://127.0.0.1:4200"), ("Origin", "http://evil.example")]
    assert ask("http", ("Host", HOST), *origins) == 403


def test_it_does_not_listen_to_others_without_a_password() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.ui.server", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "set PREFECT_SERVER_API_AUTH_STRING" in done.stderr
