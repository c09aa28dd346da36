"""Ray clusters on loopback: machines as processes, to be killed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

NODE = {"include_dashboard": False, "object_store_memory": 80 * 2**20}


@contextmanager
def running_cluster(*, cpus: int) -> Iterator[Any]:
    """A cluster whose first machine, which drivers connect to, has so many processors."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, **NODE})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def descendants(name: str) -> list[psutil.Process]:
    """Processes below this one whose name begins so: ``ray::_Remote`` are actors."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith(name):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for(condition: Callable[[], Any], *, limit_s: float = 60) -> Any:
    """The condition's value as soon as it is true."""
    deadline_s = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, condition
        time.sleep(0.02)
    return value
