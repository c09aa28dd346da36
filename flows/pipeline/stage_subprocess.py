"""Starts a stage of a retraining as a child process (``run_stage``) and reads its outcome."""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from flows.errors import StageError
from flows.pipeline.process_group import run_in_process_group
from flows.pipeline.run_stage import Outcome, StageReport
from pipeline_steps.base.errors import TRY_LATER
from pipeline_steps.tracking.mlflow_server import tracking_uri

_ERROR_LINE = re.compile(r"^error: (?P<reason>.*)")
"""How our own commands end when they fail (``pipeline_steps.base.errors.report_errors``).

Read from their output, which passes through here anyway: any command of a stage can print it.
"""


def reproduce_in_subprocess(
    name: str,
    folder: Path,
    *,
    force: bool,
    pull: bool = False,
    on_line: Callable[[str], None],
) -> Outcome:
    """Run one stage of the repository in ``folder``; its lines go to ``on_line``.

    Raises :class:`StageError` with the stage's own reason, or else DVC's.
    """
    command = [sys.executable, "-m", "flows.pipeline.run_stage", name]
    command += [*(["--force"] if force else []), *(["--pull"] if pull else [])]
    with tempfile.TemporaryDirectory(prefix="colorizer-stage-") as temporary:
        report_path = Path(temporary) / "report.json"
        command += ["--report", str(report_path)]
        exit_code, lines = _run(command, folder, on_line)
        if not report_path.exists():  # it was killed, or has a fault of its own
            raise describe_exit(name, exit_code, lines)
        report = StageReport(**json.loads(report_path.read_text(encoding="utf-8")))
    if report.outcome is None:
        raise describe_failure(name, report, lines)
    return report.outcome


def run_in_workspace(
    name: str, command: list[str], folder: Path, *, on_line: Callable[[str], None]
) -> None:
    """Run another command of the pipeline in ``folder``; raises :class:`StageError`."""
    exit_code, lines = _run(command, folder, on_line)
    if exit_code:
        raise describe_exit(name, exit_code, lines)


def stage_environment() -> dict[str, str]:
    """The environment of a stage: this Python first in PATH, and the flow's MLflow."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT__")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "MLFLOW_TRACKING_URI": tracking_uri()}


def describe_failure(name: str, report: StageReport, lines: list[str]) -> StageError:
    """The error of a stage that reported a failure."""
    reason = report.message
    if report.exit_code is not None:  # its command failed, and knows better than DVC why
        if report.exit_code < 0:
            reason = f"ended by signal {-report.exit_code}"
        reason = _own_reason(lines) or reason
    return StageError(f"{name}: {reason}", may_pass=report.may_pass)


def describe_exit(name: str, exit_code: int, lines: list[str]) -> StageError:
    """The error of a command that ended without a report."""
    if exit_code < 0:
        reason = f"ended by signal {-exit_code}"
    else:
        reason = _own_reason(lines) or (lines[-1] if lines else f"ended with {exit_code}, silently")
    return StageError(f"{name}: {reason}", may_pass=exit_code == TRY_LATER)


def _run(command: list[str], folder: Path, on_line: Callable[[str], None]) -> tuple[int, list[str]]:
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    environment = stage_environment()
    exit_code = run_in_process_group(command, folder=folder, environment=environment, on_line=keep)
    return exit_code, lines


def _own_reason(lines: list[str]) -> str | None:
    reasons = [match["reason"] for line in lines if (match := _ERROR_LINE.match(line))]
    return reasons[-1] if reasons else None
