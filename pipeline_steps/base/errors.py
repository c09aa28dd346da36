"""The errors of the pipeline, and how a command reports them: one line and an exit code.

PipelineError                      base; the message is one line: what was wrong, where, what to do
├── ParamError                     params.yaml: unknown or missing key, bad value
├── SourceError                    the source of pairs is missing or damaged
│   └── SourceUnreachableError     the source doesn't respond; a retry may succeed
├── DataError                      pairs or weights are missing, damaged or ambiguous
├── DiskSpaceError                 the disk has too little space
├── TrainingError                  the training can't start, continue or be resumed
├── ExportError                    the exported generator differs from the trained one
├── RemoteError                    DVC's remote isn't set, or can't be used
│   └── RemoteUnreachableError     it stopped answering; a retry may succeed
└── TrackingError                  MLflow rejected the request, or its response can't be used
    └── TrackingUnreachableError   MLflow doesn't respond; a retry may succeed

The runtime's ObjectStoreError and RayClusterError are reported in the same way.
"""

import errno
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from colorizer.base.errors import ObjectStoreError, RayClusterError
from colorizer.base.redaction import redact_output
from pipeline_steps.base import signals
from pipeline_steps.base.signals import die_with_parent

TRY_LATER = 75
"""Exit code of a failure after which a retry may succeed: EX_TEMPFAIL of sysexits.h."""
FULL_BYTES = 1 << 20
"""A disk with less free space than this is full."""


class PipelineError(Exception):
    """Base of the family. Its message is a single line meant for a person."""

    exit_code = 1


class ParamError(PipelineError):
    """A key of params.yaml is unknown, missing, of a wrong type or out of range."""


class SourceError(PipelineError):
    """The source of pairs is missing, or isn't what it should be."""


class SourceUnreachableError(SourceError):
    """The source or the network is down, after all retries."""

    exit_code = TRY_LATER


class DataError(PipelineError):
    """Pairs or weights can't be used: none readable, halves ambiguous, a file damaged."""


class DiskSpaceError(PipelineError):
    """The disk has too little space."""


class TrainingError(PipelineError):
    """The training can't continue: a non-finite loss, a collapse, another training's checkpoint."""


class ExportError(PipelineError):
    """The exported generator differs from the trained one, or can't be written."""


class RemoteError(PipelineError):
    """DVC's remote isn't set, or can't be used."""


class RemoteUnreachableError(RemoteError):
    """DVC's remote stopped answering."""

    exit_code = TRY_LATER


class TrackingError(PipelineError):
    """The MLflow server can't be used: it rejected the request, or is set up wrongly."""


class TrackingUnreachableError(TrackingError):
    """The MLflow server doesn't respond."""

    exit_code = TRY_LATER


def run_main(command: Callable[[], None]) -> None:
    """Run a stage's or a command's ``main`` as :func:`report_errors`, as a process of its own.

    SIGINT exits with 130, SIGTERM with 143. A stage that DVC runs ends when DVC does.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent()
    signals.exit_on_signals()
    report_errors(command)


def report_errors(command: Callable[[], None]) -> None:
    """Run a command; turn a failure into one line on stderr and an exit code.

    A :class:`PipelineError` exits with its ``exit_code``; so do
    :class:`~colorizer.base.errors.ObjectStoreError` and
    :class:`~colorizer.base.errors.RayClusterError`, as one of them. ``COLORIZER_TRACEBACK=1`` shows
    the traceback as well. Any other error is a bug and is raised unchanged. Nothing that the
    process prints or logs from here on shows a secret.
    """
    redact_output()
    warnings.formatwarning = _format_warning  # type: ignore[assignment]
    try:
        command()
    except (Exception, KeyboardInterrupt) as error:
        line, exit_code = _describe(error)
        if line is None or (os.environ.get("COLORIZER_TRACEBACK") and isinstance(error, Exception)):
            raise
        if signals.received():
            signals.exit_now(line, exit_code)
        signals.end_progress_bars()
        print(line, file=sys.stderr)
        sys.exit(exit_code)


def _describe(error: BaseException) -> tuple[str | None, int]:
    """The line to print for an error, and the exit code; no line for a bug."""
    if any(map(_is_disk_full, _causes(error))):
        names = [cause.filename for cause in _causes(error) if isinstance(cause, OSError)]
        where = next((f"writing {name}" for name in names if name), f"working in {Path.cwd()}")
        return f"error: the disk is full ({where}): free space and run the same command again", 1
    if isinstance(error, PipelineError):
        return f"error: {error}", error.exit_code
    if isinstance(error, ObjectStoreError | RayClusterError):
        return f"error: {error}", TRY_LATER if error.may_pass else 1
    if isinstance(error, OSError) and error.strerror:
        return f"error: {error}", 1
    if isinstance(error, KeyboardInterrupt) or signals.received():
        # after a signal an unknown error is a consequence: another process of the group has exited
        if not isinstance(error, signals.Interruption):
            error = signals.Interruption(signals.received() or signal.SIGINT)
        return str(error), error.exit_code
    return None, 1


def _is_disk_full(error: BaseException) -> bool:
    # safetensors and SQLite have errors of their own for it
    texts = ["No space left on device", "database or disk is full", "Disk quota exceeded"]
    if shutil.disk_usage(".").free < FULL_BYTES:  # SQLite reports it by these too
        texts += ["disk I/O error", "unable to open database file"]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(text in str(error) for text in texts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, then each error that it was raised from or while handling."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _format_warning(message: Warning | str, *_: object) -> str:
    """One line, without the source line that the warning came from."""
    return f"warning: {message}\n"
