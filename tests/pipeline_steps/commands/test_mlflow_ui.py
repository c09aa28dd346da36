"""The pages that `make mlflow` prints, of a real database."""

import socket
from pathlib import Path

import pytest

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.commands.mlflow_ui import HOST, list_pages, require_free
from pipeline_steps.params import Params
from pipeline_steps.tracking import mlflow_server

SERVER = "http://127.0.0.1:5000"


def test_the_pages_of_what_the_database_has_are_listed(in_folder: Path, params: Params) -> None:
    tracking = params.tracking
    assert list(list_pages(SERVER, tracking)) == [("front page", SERVER)]
    client = mlflow_server.connect()
    experiment_id = client.create_experiment(tracking.experiment)
    client.create_run(experiment_id, start_time=1)
    newest = client.create_run(experiment_id, start_time=2).info.run_id
    client.create_registered_model(tracking.registered_model)
    runs, view = f"{SERVER}/#/experiments/{experiment_id}/runs", "?workflowType=machine_learning"
    assert list(list_pages(SERVER, tracking)) == [
        ("runs", f"{runs}{view}"),
        ("newest", f"{runs}/{newest}{view}"),
        ("model", f"{SERVER}/#/models/{tracking.registered_model}{view}"),
        ("front page", SERVER),
    ]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=f"port {port} can't be used .*make mlflow PORT="):
            require_free(port)
    require_free(port)
    with pytest.raises(TrackingError, match="port 99999 can't be used"):
        require_free(99999)
