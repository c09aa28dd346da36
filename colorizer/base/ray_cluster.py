"""The Ray cluster that work runs on: the one of ``RAY_ADDRESS``, or else one of this process's own.

A cluster of one's own has a worker process per core, no dashboard, and a random token without which
nothing is accepted at its ports, which Ray opens to the network. It ends with the block, and with
the process. No usage statistics are sent. Needs Ray, which is imported only here and by those who
work in the block. Sources: docs.ray.io, and Ray 2.60 as it was measured (docs/scale.md).
"""

import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from colorizer.base.addresses import without_credentials
from colorizer.base.cores import count_cores
from colorizer.base.errors import RayClusterError, RayClusterUnreachableError

ADDRESS = "RAY_ADDRESS"
CONNECT_TIMEOUT_S = 3.0
PROBE_INTERVAL_S = 2.0
"""Between looks at whether the cluster's head still answers."""
OBJECT_STORE_BYTES = 80 * 2**20
"""About the least that Ray accepts: names and facts pass through it, never pixels."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # tries to connect, a second or more each; by default 20
    "RAY_NUM_REDIS_GET_RETRIES": "3",
    # a notice about processes that use no GPU
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_HTTP2_SETTINGS = b"\x04"
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _HTTP2_SETTINGS + bytes(5)
"""A client's first bytes (RFC 9113, 3.4), which a gRPC server answers at once with its settings."""
_NOT_INSTALLED = (
    "Ray isn't installed: pip install 'image-colorizer[ray]' (in a clone: make setup), or use the"
    " local engine"
)


class RayCluster:
    """A connected cluster."""

    def __init__(self, ray: ModuleType, *, is_own: bool) -> None:
        self.ray = ray
        self.is_own = is_own
        self.address = str(ray.get_runtime_context().gcs_address)
        self._probed_s = time.monotonic()
        self._failures = 0

    def count_cpus(self) -> int:
        """The processors of all nodes that are alive, at least 1."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def count_gpus(self) -> int:
        """The GPUs of all nodes that are alive. Raises :class:`RayClusterError` without any."""
        if not (num_gpus := int(self.ray.cluster_resources().get("GPU", 0))):
            raise RayClusterError(f"the Ray cluster at {self.address} has no GPU; use --device cpu")
        return num_gpus

    def require_alive(self) -> None:
        """Raise :class:`RayClusterError` if the cluster's head has stopped answering.

        Call it now and then: by itself Ray goes on for a minute, then ends the process.
        """
        if time.monotonic() - self._probed_s < PROBE_INTERVAL_S:
            return
        reason = _why_unreachable(self.address)
        self._probed_s = time.monotonic()
        self._failures = self._failures + 1 if reason else 0
        if self._failures > 1:
            raise RayClusterUnreachableError(
                f"the Ray cluster at {self.address} is gone ({reason}); what is done is kept: start"
                " it again, then run the same command again"
            )


@contextmanager
def ray_cluster(workers: int | None = None) -> Iterator[RayCluster]:
    """Connect to the cluster of ``RAY_ADDRESS``; without it, start one of ``workers`` processes.

    ``workers`` is one per core by default, and has no meaning for a cluster that exists. In the
    block SIGTERM raises :class:`KeyboardInterrupt`, unless it had a handler already.

    Raises :class:`RayClusterError` if Ray isn't installed, or the cluster doesn't answer within
    seconds or has another version of Ray or Python.
    """
    address = os.environ.get(ADDRESS, "").strip()
    is_own = address in ("", "local")
    ray = _import_ray(with_token=is_own)
    if not is_own:
        _check_address(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        if is_own:
            _start(ray, workers or count_cores())
        else:
            _init(ray, f"{ADDRESS} {without_credentials(address)}", address=address)
        # Ray has set a handler of its own
        _set_handler(before if before != signal.SIG_DFL else _interrupt)
        yield RayCluster(ray, is_own=is_own)
    finally:
        ray.shutdown()
        _set_handler(before)
        _remove_folders()


def end_own_cluster() -> None:
    """Kill the processes of a cluster that this process started; for a handler that exits at once.

    Linux only: elsewhere they notice by themselves, after a while.
    """
    if sys.platform == "linux":
        for pid in _descendants(os.getpid()):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    _remove_folders()


_folders: list[Path] = []
"""Of clusters of this process's own: sockets and logs."""


def _import_ray(*, with_token: bool) -> ModuleType:
    # Ray reads all of it when it is imported, and so do the processes that it starts
    if "ray" not in sys.modules:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if with_token and "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ModuleNotFoundError:
        raise RayClusterError(_NOT_INSTALLED) from None
    return ray


def _check_address(address: str) -> None:
    shown = without_credentials(address)
    if "://" in address:
        raise RayClusterError(
            f"{ADDRESS} {shown}: must be HOST:PORT of the cluster's head, such as 10.0.0.5:6379;"
            " run the command on one of the cluster's machines"
        )
    reason = _why_unreachable(address) if address != "auto" else ""
    if reason:
        raise RayClusterUnreachableError(
            f"{ADDRESS} {shown}: no Ray cluster answers there ({reason}); start it, correct the"
            " address, or unset it for a cluster on this machine"
        )


def _why_unreachable(address: str) -> str:
    """Why no connection to ``HOST:PORT`` is possible; empty if one is."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return "it isn't HOST:PORT"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S) as head:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                head.sendall(_HTTP2_GREETING)
                if head.recv(4)[3:] != _HTTP2_SETTINGS:
                    return "what answers isn't Ray"
    except TimeoutError:
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _start(ray: ModuleType, workers: int) -> None:
    # Ray's sockets lie in the folder, whose paths may have 107 bytes
    base = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=base if len(base) < 30 else "/tmp"))
    _folders.append(folder)
    _init(
        ray,
        "this machine",
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
    )


def _remove_folders() -> None:
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


def _init(ray: ModuleType, where: str, **options: Any) -> None:
    # it prints what became of each process to standard output, which is for results
    vars(ray._private.worker)["print_to_stdstream"] = lambda *_, **__: None
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, **options)
    except Exception as error:
        text = " ".join(str(error).split())
        if "ersion mismatch" in text:
            raise RayClusterError(f"{where}: another version than here: {text}") from None
        raise RayClusterUnreachableError(f"{where}: no Ray cluster answers: {text}") from None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _set_handler(handler: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _descendants(pid: int) -> list[int]:
    """The processes that one started, and those that they started; Linux only."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found + [below for child in found for below in _descendants(child)]
