"""``colorize studio``: serve the page and the API until stopped."""

import argparse
import os
import sys

from colorizer.base.cores import count_cores
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
    parser.add_argument("--port", type=int, default=8000, help="port to bind (default: 8000)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="another host name that the server is reached by (repeatable)",
    )
    parser.add_argument("--workers", type=int, default=count_cores())
    parser.add_argument("--max-waiting", type=int, default=DEFAULTS.max_waiting)
    parser.add_argument("--max-body-bytes", type=int, default=DEFAULTS.max_body_bytes)
    parser.add_argument("--max-pixels", type=int, default=DEFAULTS.max_pixels)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns the exit code: 1 if a library is missing."""
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
    threads = max(1, count_cores() // options.workers)
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
    print(f"studio: http://{options.host}:{options.port}", flush=True)
    uvicorn.run(
        app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=30
    )
    models.close()
    return 0
