"""``python -m flows.serve``: all deployments of ``prefect.yaml`` on this machine, in one command.

Starts a Prefect server on loopback, unless ``PREFECT_API_URL`` names one, sets up its automations,
and runs what is scheduled or triggered until it's stopped. Runs that were killed together with that
server are marked as crashed at the next start.
"""

import argparse
import os

from colorizer.base.arguments import port_number
from flows.errors import run_flow_command
from flows.ui.local_server import local_server
from flows.ui.server import HOST


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=port_number, default=4200, help="of the server (default: 4200)"
    )
    arguments = parser.parse_args()
    if os.environ.get("PREFECT_API_URL"):
        serve_all(owns_server=False)
        return
    with local_server(arguments.port) as url:
        os.environ["PREFECT_API_URL"] = url
        print(
            f"serve: UI at http://{HOST}:{arguments.port}; in another shell:\n"
            f"    export PREFECT_API_URL={url}\n"
            "    prefect deployment run retrain/retrain",
            flush=True,
        )
        serve_all(owns_server=True)


def serve_all(*, owns_server: bool) -> None:
    """Serve every deployment of ``prefect.yaml``."""
    # Prefect reads PREFECT_API_URL when it's first imported
    from flows.ui.deployments import serve_deployments

    serve_deployments(owns_server=owns_server)


if __name__ == "__main__":
    run_flow_command(main)
