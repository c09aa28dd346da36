"""ASGI middleware against requests of other web sites through the user's browser."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("127.0.0.1", "localhost")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]


def close_to_other_sites(app: App, names: Iterable[str]) -> App:
    """Refuse requests and websockets with another ``Host`` (400) or ``Origin`` (403).

    The first prevents DNS rebinding, the second cross-origin requests (RFC 6454).
    """
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    hosts = list(dict.fromkeys(names))
    return TrustedHostMiddleware(
        OwnOriginMiddleware(app, hosts), allowed_hosts=hosts, www_redirect=False
    )


class OwnOriginMiddleware:
    """ASGI middleware: an ``Origin`` must be one of ``names``, at the request's own port."""

    def __init__(self, app: App, names: Iterable[str]) -> None:
        self.app = app
        self.names = frozenset(names)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Forward a request, or respond with 403."""
        from starlette.responses import PlainTextResponse

        if scope["type"] not in ("http", "websocket") or self._is_own(scope):
            await self.app(scope, receive, send)
            return
        response = PlainTextResponse("Requests from other origins are refused", status_code=403)
        await response(scope, receive, send)

    def _is_own(self, scope: Message) -> bool:
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}")
        try:
            return all(
                (origin := urlsplit(text)).hostname in self.names and origin.port == host.port
                for text in headers.getlist("origin")
            )
        except ValueError:  # an invalid port
            return False
