"""What ``compose.yaml`` says of each service, for processes of this machine instead of containers.

The commands, variables, health checks and their order are Compose's own. What a container gives
its process is put in place of: other services' names and every address become loopback, and where
a volume is mounted becomes a folder of this machine.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from pipeline_steps.base.errors import PipelineError

COMPOSE_FILE = Path(__file__).parent / "compose.yaml"
HOST = "127.0.0.1"
# ${NAME}, ${NAME:-default}, ${NAME:?reason}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_SECONDS = {"s": 1, "m": 60}


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service of ``compose.yaml``, as a process of this machine."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    health: tuple[str, ...]
    """The command that exits with 0 once the service answers; empty for one that ends by itself."""
    start_s: float
    """It is given so long to answer, or to end."""
    stop_s: float
    """It is given so long to end after ``stop_signal``."""
    stop_signal: str
    ports: tuple[int, ...]
    """Those on which it listens for others."""
    folders: dict[str, Path]
    """Mount point in a container → the folder of its named volume."""
    needs: tuple[str, ...]


def read_services(
    variables: Mapping[str, str], folder: Path, file: Path = COMPOSE_FILE
) -> list[Service]:
    """The services in the order in which they start, volumes below ``folder``.

    ``variables`` are put in place of ``${…}``. Raises :class:`PipelineError` if one is missing.
    """
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    entries: dict[str, Any] = _interpolate(tree["services"], variables)
    needs = {name: tuple(entry.get("depends_on", ())) for name, entry in entries.items()}
    names = TopologicalSorter(needs).static_order()
    return [_read_service(name, entries[name], entries, folder) for name in names]


def _read_service(name: str, entry: Any, names: Mapping[str, Any], folder: Path) -> Service:
    mounts = [mount.split(":") for mount in entry.get("volumes", ())]
    folders = {to: folder / source for source, to, *_ in mounts if not source.startswith(".")}
    health = entry.get("healthcheck", {})

    def here(value: str) -> str:
        value = re.sub(rf"(?<=[/@])({'|'.join(names)})(?=:\d)", HOST, value)
        for mount, own in folders.items():
            value = value.replace(mount, str(own))
        return value.replace("0.0.0.0", HOST)

    return Service(
        name=name,
        command=tuple(map(here, [*entry.get("entrypoint", ()), *entry["command"]])),
        environment={key: here(value) for key, value in entry.get("environment", {}).items()},
        health=tuple(map(here, health.get("test", ())[1:])),  # the first word is CMD
        start_s=_seconds(health.get("start_period", "300s")),
        stop_s=_seconds(entry.get("stop_grace_period", "10s")),
        stop_signal=entry.get("stop_signal", "SIGTERM"),
        ports=tuple(int(port.split(":")[1]) for port in entry.get("ports", ())),
        folders=folders,
        needs=tuple(entry.get("depends_on", ())),
    )


def _interpolate(tree: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(tree, dict):
        return {key: _interpolate(value, variables) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_interpolate(each, variables) for each in tree]
    if not isinstance(tree, str):
        return tree

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise PipelineError(f"{COMPOSE_FILE.name} needs {name}: {text}")
        return text or ""

    return _VARIABLE.sub(value, tree)


def _seconds(text: str) -> float:
    return float(text[:-1]) * _SECONDS[text[-1]]
