"""Starts ``flows.ui.server`` as a child process, for as long as it's needed."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flows.errors import ServerError
from flows.ui.server import HOST
from pipeline_steps.base.signals import die_with_parent

START_TIMEOUT_S = 180
# at its start it would cancel what is overdue while a killed run still holds the deployment's slot
SETTINGS = {"PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false"}


@contextmanager
def local_server(port: int) -> Iterator[str]:
    """A Prefect server on loopback, stopped at the end; yields its API's URL.

    Raises :class:`ServerError` if the port is in use or the server doesn't start.
    """
    url = f"http://{HOST}:{port}/api"
    if _is_taken(port):
        raise ServerError(
            f"port {port} is taken: set PREFECT_API_URL={url} if that is your Prefect server, or"
            f" give another: make serve PORT={port + 1}"
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.ui.server", "--port", str(port)],
        env=SETTINGS
        | os.environ
        # notifications link to the run's page; the server knows its address from this alone
        | {"PREFECT_UI_URL": f"http://{HOST}:{port}"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # else it would keep the port after a kill -9
        preexec_fn=die_with_parent,
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
