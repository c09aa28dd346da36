"""``python -m flows.serve``: all deployments of ``prefect.yaml`` on this machine, in one command.

Starts a Prefect server on loopback, unless ``PREFECT_API_URL`` names one, sets up its automations,
and runs what is scheduled or triggered until it's stopped.
"""

import argparse
import importlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows.errors import ServerError, run_flow_command
from flows.ui.server import HOST

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

DEPLOYMENTS = Path("prefect.yaml")
START_TIMEOUT_S = 180


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=4200, help="of the server (default: 4200)")
    arguments = parser.parse_args()
    url = os.environ.get("PREFECT_API_URL")
    if url:
        serve_deployments()
        return
    with local_server(arguments.port) as url:
        os.environ["PREFECT_API_URL"] = url  # before Prefect is imported: it reads it once
        print(
            f"serve: UI at http://{HOST}:{arguments.port}; in another shell:\n"
            f"    export PREFECT_API_URL={url}\n"
            "    prefect deployment run retrain/retrain",
            flush=True,
        )
        serve_deployments()


@contextmanager
def local_server(port: int) -> Iterator[str]:
    """A Prefect server on loopback, stopped at the end; yields its API's URL.

    Raises :class:`ServerError` if the port is taken or the server doesn't come up.
    """
    url = f"http://{HOST}:{port}/api"
    if _is_taken(port):
        raise ServerError(
            f"port {port} is taken: set PREFECT_API_URL={url} if that is your Prefect server, or"
            " choose another --port"
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.ui.server", "--port", str(port)],
        # notifications link to the run's page; the server knows its address from this alone
        env=os.environ | {"PREFECT_UI_URL": f"http://{HOST}:{port}"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_up(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()


def serve_deployments() -> None:
    """Serve every deployment of ``prefect.yaml``."""
    from prefect import serve

    from flows.ui.automations import ensure_crash_detection

    ensure_crash_detection()
    entries = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))["deployments"]
    serve(*map(to_deployment, entries), pause_on_shutdown=False)


def to_deployment(entry: dict[str, Any]) -> "RunnerDeployment":
    """An entry of ``prefect.yaml`` as ``serve`` takes it."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.schedules import Cron

    file, _, name = entry["entrypoint"].partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    limit = entry.get("concurrency_limit")
    return getattr(module, name).to_deployment(  # type: ignore[no-any-return]
        name=entry["name"],
        description=entry["description"],
        parameters=entry.get("parameters"),
        schedules=[Cron(each["cron"], timezone=each["timezone"]) for each in entry["schedules"]],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
    )


def _wait_until_up(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not _answers(f"{url}/health"):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise ServerError(
                f"the Prefect server at {url} didn't start; to see its log, run"
                " `python -m flows.ui.server`"
            )
        time.sleep(0.5)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    run_flow_command(main)
