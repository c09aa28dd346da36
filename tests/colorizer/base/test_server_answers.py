"""What a server, or a proxy before it, answers to MLflow's own client: the status, and sendings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.base.server_answers import Answer, find_answer, is_connection_lost
from colorizer.model import registry
from tests.faults.faulty_proxy import FaultyProxy, faulty_proxy

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINAL, PASSING = (400, 401, 403, 404, 413), (408, 425, 429, 500, 502, 503, 504)
NO_SERVER = 9


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with faulty_proxy(NO_SERVER) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultyProxy) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(with_password(proxy.url))


@pytest.fixture
def store(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where MLflow's client sends files to."""
    from colorizer.base import file_transfer

    monkeypatch.setattr(file_transfer, "RETRY_S", 0.01)
    return file_transfer.MlflowTransfer("mlflow-artifacts:/1", with_password(proxy.url))


def with_password(url: str) -> str:
    return url.replace("http://", "http://alice:word@")


@pytest.mark.parametrize("body", ["<h1>no</h1>", '{"message": "no"}'])
def test_the_status_of_any_request_says_whether_to_try_again(
    proxy: FaultyProxy, client: "MlflowClient", body: str
) -> None:
    from mlflow.exceptions import MlflowException

    proxy.answer_body = body
    for status in (*FINAL, *PASSING):
        if status == 425 and body.startswith("{"):
            continue  # MLflow drops it, and doesn't retry it
        proxy.answers = {"": status}
        with pytest.raises(MlflowException) as raised:
            client.get_run("1")
        answer = find_answer(raised.value)
        assert answer is not None
        assert answer.is_final == (status in FINAL), status
        assert answer.status in (status, None)
        assert "word" not in str(answer)
        assert not is_connection_lost(raised.value)


def test_mlflows_own_answer_keeps_its_code(proxy: FaultyProxy, client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    proxy.answers = {"": 404}
    proxy.answer_body = '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}'
    with pytest.raises(MlflowException) as raised:
        client.get_run("1")
    answer = find_answer(raised.value)
    assert answer is not None
    assert (answer.status, answer.is_final) == (404, True)


@pytest.mark.parametrize(
    ("status", "sent"), [(413, 1), (403, 1), (500, 1), (504, 1), (429, 3), (503, 3)]
)
def test_a_file_is_sent_again_only_if_the_server_has_not_accepted_it(
    proxy: FaultyProxy, store: Any, tmp_path: Path, status: int, sent: int
) -> None:
    from requests import HTTPError

    (tmp_path / "grid.png").write_bytes(b"x" * 1500)
    proxy.answers = {"": status}
    with pytest.raises(HTTPError) as raised:
        store.log_artifact(str(tmp_path / "grid.png"), "evaluation")
    assert proxy.num_puts("grid.png") == sent
    answer = find_answer(raised.value)
    assert answer is not None
    assert answer.status == status
    assert answer.num_bytes == 1500
    path = "/api/2.0/mlflow-artifacts/artifacts/1/evaluation/grid.png"
    assert str(answer).startswith(f"{proxy.url}{path} answered {status} ")
    assert str(answer).endswith(" to 1.5 kB")


@pytest.mark.parametrize("closes_early", [False, True])
def test_a_large_body_that_a_proxy_refuses_unread_is_known_by_its_status(
    proxy: FaultyProxy, store: Any, tmp_path: Path, closes_early: bool
) -> None:
    from requests import HTTPError

    (tmp_path / "model").write_bytes(bytes(8_000_000))
    proxy.max_body_bytes, proxy.closes_early = 1_000_000, closes_early
    with pytest.raises(HTTPError) as raised:
        store.log_artifact(str(tmp_path / "model"))
    assert str(find_answer(raised.value)).endswith(
        "answered 413 Request Entity Too Large to 8.0 MB"
    )
    assert proxy.num_puts("model") == 1


def test_a_large_file_that_is_refused_may_go_in_parts_whose_store_must_be_reached(
    proxy: FaultyProxy, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorizer.base import file_transfer
    from colorizer.base.bucket_transfer import BucketError

    (tmp_path / "model").write_bytes(b"0123456789")
    for status in (413, 504):
        large = Answer(status, proxy.url, 218_000_000)
        assert "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=50000000" in large.advice
        assert "MULTIPART" not in large._replace(num_bytes=1_000_000).advice

    file_transfer.use_timeouts_by_size()
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "5")
    part = {"url": "http://127.0.0.1:9/x?X-Amz-Signature=word", "part_number": 1, "headers": {}}
    proxy.answers = {"/mpu/": 200}
    proxy.answer_body = json.dumps({"upload_id": "u", "credentials": [part]})
    with pytest.raises(BucketError) as raised:
        store.log_artifact(str(tmp_path / "model"))
    assert str(raised.value.reason) == (
        "http://127.0.0.1:9, where the MLflow server has model sent in parts, doesn't answer;"
        " start it or have this machine reach it, or send files through the server"
        " (MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=false)"
    )
    assert [Path(each.path).parts[5] for each in proxy.requests] == ["create", "abort"]


def test_a_slow_server_has_time_by_the_size_and_gets_the_file_once(
    proxy: FaultyProxy, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    from colorizer.base import file_transfer

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    assert file_transfer.transfer_timeout_s(218_000_000) == 60 + 218
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "900")
    assert file_transfer.transfer_timeout_s(218_000_000) == 900
    monkeypatch.setattr(file_transfer, "transfer_timeout_s", lambda _: 0.2)
    (tmp_path / "model").write_bytes(b"x")
    proxy.mode = "mute"
    with pytest.raises(MlflowException) as raised:
        store.log_artifact(str(tmp_path / "model"))
    assert is_connection_lost(raised.value)
    assert proxy.num_connections == 1


def test_a_registry_that_says_no_is_not_taken_for_one_that_is_away(
    proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(with_password(proxy.url))
    try:
        for status, expected in ((403, r"answered.* 403"), (503, "none was fetched before")):
            proxy.answers = {"": status}
            with pytest.raises(ModelFolderError, match=expected) as raised:
                registry.fetch_model("models:/tiny@champion", cache=tmp_path)
            assert ("fetched before" in str(raised.value)) == (status == 503)
            assert "word" not in str(raised.value)
            assert "\n" not in str(raised.value)
    finally:
        mlflow.set_tracking_uri(before)
