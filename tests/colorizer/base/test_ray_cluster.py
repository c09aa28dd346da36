"""No cluster to work with: one line, within seconds, with what to do."""

import socket
import sys

import pytest

from colorizer.base.errors import RayClusterError, RayClusterUnreachableError
from colorizer.base.ray_cluster import ray_cluster


def refusal() -> str:
    with pytest.raises(RayClusterError) as error, ray_cluster(1):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'image-colorizer[ray]'" in refusal()


def test_an_address_where_nothing_listens_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(RayClusterUnreachableError), ray_cluster():
        pass
    assert f"127.0.0.1:{port}: no Ray cluster answers there (Connection refused)" in refusal()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "nonsense", "host:port"])
def test_what_is_no_address_of_a_head_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert "HOST:PORT" in refusal()


def test_a_program_that_is_not_ray_is_told_of_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        assert "no Ray cluster answers there (no answer within 3 s)" in refusal()
