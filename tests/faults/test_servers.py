"""Prefect's and MLflow's servers as the project starts them: foreign requests, a restart."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.faults.report import FULL, report
from tests.whole.clone import REPOSITORY, make_small_clone
from tests.whole.prefect_stack import PrefectServer, end, free_port, prefect_server, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect"), auth=None) as server:
        yield server


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of ``make mlflow``, on a free port."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(REPOSITORY / "params.yaml", folder)
    port = free_port()
    command = [sys.executable, "-m", "pipeline_steps", "mlflow_ui", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(REPOSITORY)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )

    def healthy() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        wait_until(healthy, 120, lambda: (folder / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_prefect_refuses_foreign_hosts_and_origins(
    prefect: PrefectServer, headers: dict[str, str]
) -> None:
    for method, path in (("GET", "/health"), ("POST", "/flows/filter")):
        response = requests.request(
            method, f"{prefect.url}{path}", json={}, headers=headers, timeout=10
        )
        assert response.status_code in (400, 403), f"{method} {path}: {response.text[:200]}"
    report(f"Prefect with {headers}: {response.status_code}")


def test_prefect_refuses_a_websocket_of_a_foreign_origin(prefect: PrefectServer) -> None:
    url = f"{prefect.url.replace('http', 'ws', 1)}/events/in"
    with connect(url, open_timeout=10):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(url, origin="http://evil.example", open_timeout=10)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_mlflow_refuses_foreign_hosts_and_origins(mlflow_url: str, headers: dict[str, str]) -> None:
    response = requests.post(
        f"{mlflow_url}/api/2.0/mlflow/experiments/create",
        json={"name": "planted"},
        headers=headers,
        timeout=10,
    )
    assert response.status_code in (400, 403), response.text[:200]
    if "Host" in headers:
        page = requests.get(mlflow_url, headers=headers, timeout=10)
        assert page.status_code in (400, 403)
    report(f"MLflow with {headers}: {response.status_code}")


def test_both_servers_accept_requests_of_their_own_origin(
    prefect: PrefectServer, mlflow_url: str
) -> None:
    origin = prefect.url.removesuffix("/api")
    own = requests.post(
        f"{prefect.url}/flows/filter", json={}, headers={"Origin": origin}, timeout=10
    )
    assert own.status_code == 200
    searched = requests.post(
        f"{mlflow_url}/api/2.0/mlflow/experiments/search", json={"max_results": 10}, timeout=10
    )
    names = [each["name"] for each in searched.json()["experiments"]]
    assert "planted" not in names


def test_prefects_pages_ask_the_server_that_they_come_from(prefect: PrefectServer) -> None:
    origin = prefect.url.removesuffix("/api")
    settings = requests.get(f"{origin}/ui-settings", timeout=10).json()
    assert settings["api_url"] == prefect.url
    assert f"its API: {prefect.url}" in prefect.log_path.read_text()


def test_both_servers_listen_on_loopback_only(prefect: PrefectServer, mlflow_url: str) -> None:
    ports = {int(url.split(":")[2].split("/")[0]) for url in (prefect.url, mlflow_url)}
    sockets = [s for s in psutil.net_connections("tcp") if s.status == psutil.CONN_LISTEN]
    addresses: list[Any] = [socket.laddr for socket in sockets]
    listening = {(ip, port) for ip, port in addresses if port in ports}
    assert listening == {("127.0.0.1", port) for port in ports}


@pytest.mark.skipif(not FULL, reason="minutes; `make faults`")
def test_after_a_restart_of_prefects_server_during_a_flow_a_second_run_completes(
    tmp_path: Path,
) -> None:
    clone = make_small_clone(tmp_path / "clone")
    clone.set_params({"train": {"epochs": 40, "checkpoint_interval_s": 0.3}})
    clone.commit()
    home, port = tmp_path / "prefect", free_port()
    home.mkdir()
    command = [sys.executable, "-m", "flows.retrain", "--promote", "no"]
    with prefect_server(home, auth=None, port=port) as server:
        environment = server.environment | {
            "PYTHONPATH": str(clone.folder),
            "OMP_NUM_THREADS": "1",
        }
        with (tmp_path / "flow.log").open("wb") as log:
            flow = subprocess.Popen(
                command,
                cwd=clone.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        checkpoints = clone.folder / ".work" / "retrain"
        wait_until(
            lambda: any(checkpoints.glob("clone/.work/train/*/checkpoint-*")),
            300,
            lambda: (tmp_path / "flow.log").read_text(),
        )
    time.sleep(5)  # no server is running
    with prefect_server(home, auth=None, port=port) as server:
        try:
            flow.wait(timeout=300)
        finally:
            end(flow, signal.SIGINT)
        first = flow.returncode
        again = subprocess.run(
            command,
            cwd=clone.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert again.returncode == 0, again.stdout + again.stderr
        states = [run["state"]["name"] for run in server.call("POST", "/flow_runs/filter", {})]
    log_text = (tmp_path / "flow.log").read_text()
    assert len(clone.versions()) == 1, log_text
    report(
        f"Prefect server restarted: flow exited with {first}, second run with 0; states {states},"
        " 1 version"
    )
