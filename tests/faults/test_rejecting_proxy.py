"""A proxy before MLflow that limits a body's size or gives up early, and a slow server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline_steps.base.paths import EVALUATION_REPORT
from pipeline_steps.params import Params
from tests.faults.faulty_proxy import FaultyProxy, mlflow_behind_proxy
from tests.pipeline_steps.register.outputs import NAME, REPOSITORY, write_outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST_TIMEOUT_S = 15.0
"""MLFLOW_HTTP_REQUEST_TIMEOUT, as it is set for all other requests."""
LARGE_BYTES = 100_000


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    with mlflow_behind_proxy(tmp_path_factory.mktemp("server")) as proxy:
        yield proxy


@pytest.fixture
def clone(params: Params, tmp_path: Path) -> Path:
    """The outputs of a small model, with a grid of noise of 300 kB."""
    with chdir(tmp_path):
        write_outputs(params)
        noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
        Image.fromarray(noise).save(EVALUATION_REPORT / "random.png")
    return tmp_path


def run(proxy: FaultyProxy, clone: Path, command: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline_steps", command],
        cwd=clone,
        env=kept
        | {
            "MLFLOW_TRACKING_URI": proxy.url.replace("http://", "http://alice:word@"),
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "word" not in done.stdout + done.stderr
    return done


def test_a_rejected_model_leaves_no_version_and_is_registered_when_the_limit_is_raised(
    proxy: FaultyProxy, clone: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(proxy.url)
    proxy.max_body_bytes = 20_000
    done = run(proxy, clone, "register")
    assert done.returncode == 1
    aside, lacks = done.stdout.splitlines()
    assert "register: set aside: evaluation random.png #1: " in aside
    assert "answered 413 Request Entity Too Large to 30" in aside
    assert "`python -m pipeline_steps deliver` sends it" in lacks
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the model isn't registered, no version was made: http://127.")
    assert "/model.onnx answered 413 Request Entity Too Large to 2" in line
    assert (proxy.num_puts("random.png"), proxy.num_puts("model.onnx")) == (1, 1)

    proxy.max_body_bytes, proxy.slow_from_bytes = None, LARGE_BYTES
    proxy.store_s, proxy.gateway_timeout_s = 4.0, 1.0
    done = run(proxy, clone, "register")
    assert done.returncode == 75
    (line,) = done.stderr.splitlines()
    assert "/model.onnx answered 504 Gateway Timeout" in line
    assert "proxy_read_timeout" in line
    assert (proxy.num_puts("random.png"), proxy.num_puts("model.onnx")) == (1, 2)

    experiments = [each.experiment_id for each in client.search_experiments()]
    assert client.search_registered_models() == []
    assert client.search_logged_models(experiments) == []
    (trained,) = client.search_runs(experiments)
    assert trained.info.status == "FINISHED"

    proxy.store_s, proxy.gateway_timeout_s = FIRST_TIMEOUT_S + 1, None
    done = run(proxy, clone, "register")
    assert done.returncode == 0, done.stderr
    assert f"register: {NAME} is now version 1" in done.stdout
    assert proxy.num_puts("model.onnx") == 3

    proxy.store_s = 0.0
    done = run(proxy, clone, "deliver")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "deliver: all entries are delivered",
    )
    mark = json.loads((clone / ".work/train/t1/outbox/delivered.json").read_text())
    paths = [each.path for each in client.list_artifacts(mark["run"], "evaluation")]
    assert "evaluation/random.png" in paths
