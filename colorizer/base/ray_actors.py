"""Actors on a Ray cluster that work through tasks; what one leaves undone when it dies is redone.

An actor takes one processor. It makes its worker once, from a picklable callable, and passes it one
task after another: so tasks hold names and paths, and results facts. Tasks must be repeatable: one
is done again if its actor, or the machine that this runs on, dies.
"""

import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from colorizer.base.errors import RayClusterError
from colorizer.base.ray_cluster import RayCluster
from colorizer.base.redaction import redact_output

TASKS_PER_ACTOR = 2
"""In flight at once: one that is worked on, and the next."""
WAIT_S = 1.0
PATIENCE_S = 10.0
"""After so long without a free processor, a line says what is waited for."""
MAX_DEATHS = 20
"""Of actors in a row, without a finished task between them."""
MAX_DEATHS_AT_START = 3
"""The same, before any actor was ready: more won't be."""
_PACKAGES = ("numpy", "pillow", "onnxruntime")

Task = TypeVar("Task")
Result = TypeVar("Result")
Worker = Callable[[Task], Result]


class ActorPool(Generic[Task, Result]):
    """Actors that do equal work, each replaced when it dies. Use it in a ``with`` block."""

    def __init__(
        self,
        cluster: RayCluster,
        make_worker: Callable[[], Worker[Task, Result]],
        num_actors: int,
        *,
        gpus_per_actor: float = 0,
    ) -> None:
        """Start the actors; ``make_worker`` is called in each, and pickled for that."""
        self._cluster = cluster
        self._make_worker = cluster.ray.put(make_worker)
        self._gpus_per_actor = gpus_per_actor
        self._in_flight: dict[Any, tuple[_Actor[Task], Task | None]] = {}
        self._actors: list[_Actor[Task]] = []
        self._deaths = 0
        self._was_ready = False
        self._idle_s = 0.0
        for _ in range(num_actors):
            self._add_actor()

    def __enter__(self) -> "ActorPool[Task, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._end(actor)

    def run(self, tasks: deque[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield each task and its result, as they finish.

        Tasks may be added while this runs. Raises what a worker raises, and
        :class:`RayClusterError` if the cluster is lost, or its machines can't run the work.
        """
        while tasks or any(actor.num_tasks for actor in self._actors):
            self._hand_out(tasks)
            done, _ = self._cluster.ray.wait(list(self._in_flight), timeout=WAIT_S)
            self._cluster.require_alive()
            self._tell_of_waiting(bool(done))
            for ref in done:
                # it died, and this was taken back already
                if ref not in self._in_flight:
                    continue
                actor, task = self._in_flight.pop(ref)
                try:
                    result = self._cluster.ray.get(ref)
                except self._cluster.ray.exceptions.RayTaskError as error:
                    raise _cause(error) from None
                except self._cluster.ray.exceptions.RayError as error:
                    self._replace(actor, task, tasks, str(error))
                    continue
                if task is None:
                    actor.is_ready = self._was_ready = True
                    continue
                actor.num_tasks -= 1
                self._deaths = 0
                yield task, result

    def _hand_out(self, tasks: deque[Task]) -> None:
        for depth in range(TASKS_PER_ACTOR):
            for actor in self._actors:
                if tasks and actor.is_ready and actor.num_tasks == depth:
                    task = tasks.popleft()
                    actor.num_tasks += 1
                    self._in_flight[actor.handle.work.remote(task)] = actor, task

    def _add_actor(self) -> None:
        remote = self._cluster.ray.remote(num_cpus=1, num_gpus=self._gpus_per_actor)(_Remote)
        actor = _Actor[Task](remote.remote())
        self._actors.append(actor)
        start = actor.handle.start.remote(describe_versions(), self._make_worker)
        self._in_flight[start] = actor, None

    def _replace(
        self, actor: "_Actor[Task]", task: Task | None, tasks: deque[Task], reason: str
    ) -> None:
        """Give the actor's tasks back, and start another one."""
        self._deaths += 1
        if self._deaths > (MAX_DEATHS if self._was_ready else MAX_DEATHS_AT_START):
            raise RayClusterError(
                f"workers on the Ray cluster at {self._cluster.address} die again and again:"
                f" {_last_line(reason)}"
            )
        refs = [ref for ref, (its, _) in self._in_flight.items() if its is actor]
        undone = [task, *(self._in_flight.pop(ref)[1] for ref in refs)]
        tasks.extendleft(each for each in reversed(undone) if each is not None)
        self._actors.remove(actor)
        self._end(actor)
        self._add_actor()

    def _end(self, actor: "_Actor[Task]") -> None:
        self._cluster.ray.kill(actor.handle)

    def _tell_of_waiting(self, has_done: bool) -> None:
        before = self._idle_s
        is_waiting = not has_done and not any(actor.is_ready for actor in self._actors)
        self._idle_s = before + WAIT_S if is_waiting else 0.0
        if before < PATIENCE_S <= self._idle_s:
            print("note: waiting for a free processor on the Ray cluster", file=sys.stderr)


@dataclass(eq=False)
class _Actor(Generic[Task]):
    handle: Any
    is_ready: bool = False
    """Its worker is made: before, it may wait for a free processor, and gets no tasks."""
    num_tasks: int = 0


def _cause(error: Any) -> BaseException:
    """What a worker raised, without the traceback that Ray adds to the message."""
    cause = error.cause
    if isinstance(cause, ImportError):
        return RayClusterError(
            f"a machine of the Ray cluster can't load this project's code ({cause}); install the"
            " same on all machines"
        )
    return cause if isinstance(cause, BaseException) else error


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


@cache
def describe_versions() -> dict[str, str]:
    """What the bytes of outputs depend on: the versions of packages, and a hash of our own code."""
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    code = sha256()
    package = Path(__file__).parents[1]
    for folder in (package, package.with_name("pipeline_steps")):
        for file in sorted(folder.rglob("*.py")):
            code.update(file.relative_to(folder.parent).as_posix().encode() + file.read_bytes())
    return found | {"image-colorizer's code": code.hexdigest()[:12]}


def require_versions(wanted: dict[str, str], here: dict[str, str]) -> None:
    """Raise :class:`RayClusterError` if this machine of the cluster has other versions."""
    others = [
        f"{name} {here[name]} instead of {wanted[name]}"
        for name in wanted
        if here[name] != wanted[name]
    ]
    if others:
        raise RayClusterError(
            f"machine {platform.node()} of the Ray cluster has {', '.join(others)}: outputs"
            " might differ; install the same on all machines"
        )


# --- on the cluster ------------------------------------------------------------------------------


class _Remote:
    """The actor."""

    def start(self, versions: dict[str, str], make_worker: Callable[[], Worker[Any, Any]]) -> None:
        """Make the worker. Raises :class:`RayClusterError` if outputs might differ from here."""
        redact_output()
        require_versions(versions, describe_versions())
        # processes that a worker spawns would import Ray's own script
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._work = make_worker()

    def work(self, task: Any) -> Any:
        """Do one task."""
        return self._work(task)
