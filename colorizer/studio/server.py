"""``colorize studio``: serve the page and the API until stopped."""

import argparse
import errno
import os
import socket
import sys
from contextlib import suppress

from colorizer.base.errors import ColorizerError
from colorizer.studio.limits import Limits
from colorizer.studio.same_site import LOOPBACK_NAMES

DEFAULTS = Limits()
MAX_PORT = 65_535
BACKLOG = 2048


def make_parser() -> argparse.ArgumentParser:
    """The parser of ``colorize studio``."""
    parser = argparse.ArgumentParser(prog="colorize studio", description=__doc__)
    parser.add_argument(
        "--model",
        default=os.environ.get("COLORIZER_MODEL") or "models/colorizer",
        help="an exported folder, or models:/NAME@champion, which also serves candidate and"
        " previous (default: $COLORIZER_MODEL, or models/colorizer)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=parse_port,
        default=8000,
        help="port to bind (default: 8000); 0: any that is free",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="another host name that the server is reached by (repeatable)",
    )
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--max-waiting", type=int, default=DEFAULTS.max_waiting)
    parser.add_argument("--max-body-bytes", type=int, default=DEFAULTS.max_body_bytes)
    parser.add_argument("--max-pixels", type=int, default=DEFAULTS.max_pixels)
    return parser


def parse_port(text: str) -> int:
    """``"8000"`` → 8000. Raises :class:`argparse.ArgumentTypeError` unless it is 0 to 65535."""
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_PORT}, got {text}")
    return int(text)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises :class:`ColorizerError` if it is taken, or not allowed.

    Connections wait in it until the server accepts them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is in use by another program; choose another by --port"
        elif isinstance(error, PermissionError):
            reason = f"port {port} needs administrator's rights; choose one above 1023 by --port"
        else:
            reason = f"--host {host} can't be bound ({error.strerror})"
        raise ColorizerError(reason) from None


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code: 1 if it can't: a library or the port."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        import uvicorn

        from colorizer.studio.app import create_app
    except ModuleNotFoundError as error:
        print(
            f"error: the studio needs {error.name}: pip install 'image-colorizer[serve]'",
            file=sys.stderr,
        )
        return 1
    from colorizer.studio.models import Models, choose_sources
    from colorizer.studio.same_site import close_to_other_sites

    if options.workers < 1 or options.max_waiting < 0:
        parser.error("--workers must be ≥ 1, --max-waiting ≥ 0")
    try:
        listening = bind(options.host, options.port)
    except ColorizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    models = Models(choose_sources(options.model), threads=threads)
    models.start()
    for name in models.names:
        if served := models.get(name):
            note = served.colorizer.model.note
            print(f"studio: {name} is {served.label}{f', {note}' if note else ''}", flush=True)
    for name, reason in models.load_errors.items():
        print(f"studio: no {name}: {reason}", file=sys.stderr, flush=True)
    limits = Limits(
        workers=options.workers,
        max_waiting=options.max_waiting,
        max_body_bytes=options.max_body_bytes,
        max_pixels=options.max_pixels,
    )
    names = [*LOOPBACK_NAMES, options.host, *options.name]
    app = close_to_other_sites(create_app(models, limits), names)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=30)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"studio: http://{host}:{listening.getsockname()[1]}", flush=True)
    with listening, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    models.close()
    return 0
