"""``colorize studio``: serve the page and the API until stopped."""

import argparse
import os
import sys
from contextlib import suppress

from colorizer.base.arguments import port_number, whole_number
from colorizer.base.cores import count_cores
from colorizer.base.errors import ColorizerError
from colorizer.base.listening import bind
from colorizer.studio.limits import Limits
from colorizer.studio.same_site import LOOPBACK_NAMES

DEFAULTS = Limits()


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
        type=port_number,
        default=8000,
        help="port to bind (default: 8000); 0: any that is free",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="another host name that the server is reached by (repeatable)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        default=count_cores(),
        help="pictures at once (default: one per core)",
    )
    for name, least, default, what in (
        ("--max-waiting", 0, DEFAULTS.max_waiting, "requests that wait; one more gets status 429"),
        ("--max-body-bytes", 1, DEFAULTS.max_body_bytes, "of a picture's file"),
        ("--max-pixels", 1, DEFAULTS.max_pixels, "of a picture"),
    ):
        parser.add_argument(
            name, type=whole_number(least), default=default, help=f"{what} (default: {default})"
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code: 1 if it can't: a library, port or folder."""
    options = make_parser().parse_args(arguments)
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

    try:
        sources = choose_sources(options.model)
        listening = bind(options.host, options.port)
    except ColorizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    models = Models(sources, threads=max(1, count_cores() // options.workers))
    models.start()
    if not models.names and not options.model.startswith("models:/"):  # a registry may answer later
        print(f"error: {'; '.join(models.load_errors.values())}", file=sys.stderr)
        models.close()
        listening.close()
        return 1
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
