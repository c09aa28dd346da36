"""``python -m flows.ui.server``: Prefect's server, closed to web pages of other sites.

``prefect server start`` accepts requests for any host name, and lets any page read the response:
a page open in a browser on this machine could start runs, which are code. This is the same server,
but it rejects a request for another host name (DNS rebinding) or from another origin (RFC 6454).
"""

import argparse
import os
import socket
from collections.abc import Iterable

from colorizer.base.arguments import port_number
from colorizer.base.errors import ColorizerError
from colorizer.base.listening import bind
from colorizer.studio.same_site import LOOPBACK_NAMES, close_to_other_sites
from flows.errors import ServerError
from flows.ui.prefect_secrets import add_prefect_secrets
from pipeline_steps.base.errors import report_errors

HOST = "127.0.0.1"
SHUTDOWN_S = 5
EVENT_ORDER = "flows.ui.restart"


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.ui.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default=HOST, help=f"address to bind (default: {HOST})")
    parser.add_argument(
        "--port", type=port_number, default=4200, help="port to bind (default: 4200)"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="another name that people reach it by, say behind a proxy; may be repeated",
    )
    arguments = parser.parse_args()
    if arguments.host not in LOOPBACK_NAMES and not _has_password():
        parser.error(
            "whoever reaches this server may run code: set PREFECT_SERVER_API_AUTH_STRING="
            f"name:password before it listens on {arguments.host}"
        )
    serve(arguments.host, arguments.port, [*LOOPBACK_NAMES, arguments.host, *arguments.name])


def serve(host: str, port: int, names: Iterable[str]) -> None:
    """Run Prefect's server in this process, for requests by one of these names."""
    page = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if host in LOOPBACK_NAMES:
        # Prefect's pages would ask port 4200; it reads its settings when it's first imported
        os.environ.setdefault("PREFECT_UI_API_URL", f"{page}/api")
    os.environ.setdefault("PREFECT_SERVER_EVENTS_CAUSAL_ORDERING", EVENT_ORDER)
    try:
        listening = bind(host, port)
    except ColorizerError as error:
        raise ServerError(str(error)) from None
    with listening:
        # Prefect's server takes seconds to import
        import uvicorn
        from prefect.server.api.server import create_app

        add_prefect_secrets()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                print(f"Prefect's pages: {page}, its API: {page}/api", flush=True)

        from flows.ui.restart import watching_anew

        app = create_app(final=True)
        app.router.lifespan_context = watching_anew(app.router.lifespan_context)
        closed = close_to_other_sites(app, names)
        # the runs' websockets stay open for as long as they live
        config = uvicorn.Config(closed, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S)
        Server(config).run(sockets=[listening])


def _has_password() -> bool:
    from prefect.settings import get_current_settings

    return get_current_settings().server.api.auth_string is not None


if __name__ == "__main__":
    report_errors(main)
