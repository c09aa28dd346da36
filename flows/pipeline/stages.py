"""Reads the stages from ``dvc.yaml``, in the order of their dependencies."""

import contextlib
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from flows.errors import WorkspaceError


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``."""

    name: str
    desc: str
    upstream: tuple[str, ...]
    """Names of the stages whose outputs it reads."""
    refresh: bool
    """``meta: {refresh: true}``: it reads from outside; a retraining forces it."""


def read_stages(folder: Path) -> list[Stage]:
    """The stages of the repository in ``folder``, each after those it depends on.

    Raises :class:`WorkspaceError` if DVC can't read it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with contextlib.closing(Repo(str(folder))) as repo:
            graph = repo.index.graph
            found = {
                _address(stage, folder): Stage(
                    name=_address(stage, folder),
                    desc=stage.desc or "",
                    upstream=tuple(sorted(_address(s, folder) for s in graph.successors(stage))),
                    refresh=bool((stage.meta or {}).get("refresh")),
                )
                for stage in repo.index.stages
            }
    except DvcException as error:
        raise WorkspaceError(f"{folder}: {' '.join(str(error).split())}") from None
    order = TopologicalSorter({stage.name: stage.upstream for stage in found.values()})
    return [found[name] for name in order.static_order()]


def _address(stage: Any, folder: Path) -> str:
    """A stage's name for ``dvc repro`` in ``folder``; DVC's is relative to the current folder."""
    file = Path(stage.path).relative_to(folder.resolve())
    if file == Path("dvc.yaml"):
        return str(stage.name)
    return f"{file}:{stage.name}" if file.name == "dvc.yaml" else str(file)
