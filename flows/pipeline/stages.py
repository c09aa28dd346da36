"""The stages as ``dvc.yaml`` has them: which there are, in what order, and how one is run."""

import contextlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from flows.errors import StageError, WorkspaceError
from flows.pipeline.process_group import run_in_process_group
from pipeline_steps.base.errors import TRY_LATER
from pipeline_steps.tracking.mlflow_server import tracking_uri

Outcome = Literal["ran", "restored", "unchanged"]
"""Its commands were run; DVC had run the same before and brought the results; nothing to do."""
_HINT = re.compile(
    r"To track the changes|To enable auto staging|Use `dvc push`|git add |dvc config core.autostage"
)
"""What DVC advises a person at a terminal."""
_LOCK_IS_HELD = re.compile(r"is busy|Unable to acquire lock|blocked by", re.IGNORECASE)
_OUR_ERROR = re.compile(r"^error: (?P<reason>.*)")
_DVC_ERROR = re.compile(r"^ERROR: (?P<reason>.*)")


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``."""

    name: str
    desc: str
    upstream: tuple[str, ...]
    """Names of the stages whose outputs it reads."""
    refresh: bool
    """``meta: {refresh: true}``: it reads the world outside, so a retraining forces it."""


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
    """How ``dvc repro``, run in ``folder``, calls a stage; DVC itself names it from the cwd."""
    file = Path(stage.path).relative_to(folder.resolve())
    if file == Path("dvc.yaml"):
        return str(stage.name)
    return f"{file}:{stage.name}" if file.name == "dvc.yaml" else str(file)


def reproduce_stage(
    name: str, folder: Path, *, force: bool, on_line: Callable[[str], None]
) -> Outcome:
    """Run one stage by ``dvc repro -s``; raises :class:`StageError` with the stage's own reason."""
    command = [
        sys.executable,
        "-m",
        "flows.pipeline.run_stage",
        name,
        *(["--force"] if force else []),
    ]
    lines = run_in_workspace(folder, command, name, on_line)
    return read_outcome(name, lines)


def run_in_workspace(
    folder: Path, command: list[str], name: str, on_line: Callable[[str], None]
) -> list[str]:
    """Run a command of the pipeline in a workspace; return its lines, or raise its reason."""
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if not _HINT.match(line.strip()):
            on_line(line)

    code = run_in_process_group(
        command, folder=folder, environment=stage_environment(), on_line=take
    )
    if code:
        raise explain(name, code, lines)
    return lines


def stage_environment() -> dict[str, str]:
    """The environment of a stage: our Python first, MLflow where the flow has it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT__")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "MLFLOW_TRACKING_URI": tracking_uri()}


def read_outcome(name: str, lines: list[str]) -> Outcome:
    """Tell from DVC's own words what happened to a stage."""
    text = "\n".join(lines)
    if f"Running stage '{name}'" in text:
        return "ran"
    if f"Stage '{name}' is cached" in text:
        return "restored"
    if f"Stage '{name}' didn't change" in text:
        return "unchanged"
    # with nothing to do at all it only says so
    return "unchanged" if "are up to date" in text else "ran"


def explain(name: str, code: int, lines: list[str]) -> StageError:
    """Why a stage failed, in one line, and whether another try may do."""
    ours = [match["reason"] for line in lines if (match := _OUR_ERROR.match(line))]
    dvcs = [match["reason"] for line in lines if (match := _DVC_ERROR.match(line))]
    reason = ours[-1] if ours else dvcs[0] if dvcs else lines[-1] if lines else "no output"
    if code < 0:
        reason = f"ended by signal {-code}"
    may_pass = code == TRY_LATER or any(
        f"exited with {TRY_LATER}" in line or _LOCK_IS_HELD.search(line) for line in dvcs
    )
    return StageError(f"{name}: {reason}", may_pass=may_pass)
