"""``python -m pipeline_steps mlflow_ui [--port 5000]``: MLflow's pages of the embedded database.

Prints the addresses that lead to the runs, the newest run and the registered model (MLflow's front
page opens in a view for language models), and becomes ``mlflow server``, on loopback.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator

from colorizer.base.arguments import port_number
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.params import TrackingParams, read_params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.embedded_database import FILE

HOST = "127.0.0.1"
VIEW = "?workflowType=machine_learning"
"""Has MLflow show what it shows of trained models."""


def main() -> None:
    """Check the port, print the pages, and serve until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps mlflow_ui",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=port_number, default=5000, help="(default: %(default)s)")
    port = parser.parse_args().port
    require_free(port)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the embedded database, whatever else is set
    for title, address in list_pages(f"http://{HOST}:{port}", read_params().tracking):
        print(f"{title:12}{address}")
    sys.stdout.flush()
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{FILE}"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    os.execvp(command[0], command)


def require_free(port: int) -> None:
    """Raise :class:`TrackingError` if a server listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TrackingError(
                f"port {port} can't be used ({reason}); give another: make mlflow PORT=5001"
            ) from None


def list_pages(server: str, params: TrackingParams) -> Iterator[tuple[str, str]]:
    """Title and address of each page, of what the database has."""
    client = mlflow_server.connect()
    experiment = client.get_experiment_by_name(params.experiment)
    if experiment is not None:
        page = f"{server}/#/experiments/{experiment.experiment_id}/runs"
        yield "runs", f"{page}{VIEW}"
        order = ["attributes.start_time DESC"]
        for run in client.search_runs([experiment.experiment_id], order_by=order, max_results=1):
            yield "newest", f"{page}/{run.info.run_id}{VIEW}"
    if client.search_registered_models(f"name = '{params.registered_model}'"):
        yield "model", f"{server}/#/models/{params.registered_model}{VIEW}"
    yield "front page", server
