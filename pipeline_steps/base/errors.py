"""What can go wrong in a stage, as people are told it.

PipelineError            one line: what was wrong, where, and what to do
├── ParamError           params.yaml says something that can't be done
├── SourceError          the source of pairs can't be had, or is not what it should be
│   └── SourceUnreachableError     … and that may pass by itself
├── DataError            the pairs, packed or raw, can't be used
├── DiskSpaceError          the disk is full, or too full for what is to come
├── TrainingError        the training can't start, go on, or be resumed
├── ExportError          the exported generator is not the trained one
└── TrackingError        the MLflow server at hand can't be used
    └── TrackingUnreachableError   … and that may pass by itself
"""

import errno
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline_steps.base import signals
from pipeline_steps.base.signals import die_with_parent

TRY_LATER = 75
"""Exit code of a failure that may pass by itself: EX_TEMPFAIL of sysexits.h."""
FULL_BYTES = 1 << 20
"""A disk with less room than this is full."""


class PipelineError(Exception):
    """Base of the family. Its message is a single line meant for a person."""

    exit_code = 1


class ParamError(PipelineError):
    """A key of params.yaml is unknown, missing, of a wrong type or out of range."""


class SourceError(PipelineError):
    """The source of pairs can't be reached, or what came is not what was promised."""


class SourceUnreachableError(SourceError):
    """The network or the host of the source is down, after all tries."""

    exit_code = TRY_LATER


class DataError(PipelineError):
    """The pairs can't be used: none sane, halves ambiguous, a packed file damaged."""


class DiskSpaceError(PipelineError):
    """There is no room on the disk."""


class TrainingError(PipelineError):
    """The training can't go on: a non-finite loss, a collapse, a checkpoint of another training."""


class ExportError(PipelineError):
    """The exported generator differs from the trained one, or can't be written."""


class TrackingError(PipelineError):
    """The MLflow server can't be reached or refuses us."""


class TrackingUnreachableError(TrackingError):
    """No MLflow server answers."""

    exit_code = TRY_LATER


def run_main(stage: Callable[[], None]) -> None:
    """Run a stage's ``main`` as :func:`report_errors`; SIGINT exits with 130, SIGTERM with 143.

    A stage that DVC runs ends with it.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent()
    signals.listen()
    try:
        report_errors(stage)
    except SystemExit as ended:
        if signals.is_told() and isinstance(ended.code, int):
            # Python's own end takes seconds after torch and MLflow, and who told us counts them;
            # and what was broken off in the middle of a library can keep it from ever ending
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code)
        raise


def report_errors(command: Callable[[], None]) -> None:
    """Run a command; turn a failure into one line on stderr and an exit code.

    A :class:`PipelineError` exits with its ``exit_code``. ``COLORIZER_TRACEBACK=1`` shows the
    traceback as well. Errors that are nobody's fault but ours stay loud.
    """
    warnings.formatwarning = _format_warning  # type: ignore[assignment]
    try:
        command()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not signals.is_told():
            raise
        line, exit_code = _tell(error)
        if line is None or (os.environ.get("COLORIZER_TRACEBACK") and isinstance(error, Exception)):
            raise
        _end_progress_bars()
        print(line, file=sys.stderr)
        sys.exit(exit_code)


def _tell(error: BaseException) -> tuple[str | None, int]:
    """The line that a person is told, and the exit code; no line for what is our own mistake."""
    told = signals.arrive(error)
    is_full = any(map(_is_disk_full, _causes(error)))
    if isinstance(error, PipelineError) and not is_full:
        return f"error: {error}", error.exit_code
    if is_full:
        names = [cause.filename for cause in _causes(error) if isinstance(cause, OSError)]
        where = next((f"writing {name}" for name in names if name), f"working in {Path.cwd()}")
        return f"error: the disk is full ({where}): make room and run the same command again", 1
    if isinstance(error, OSError) and error.strerror:
        return f"error: {error}", 1
    return (str(told), told.exit_code) if told else (None, 1)


def _is_disk_full(error: BaseException) -> bool:
    # safetensors and SQLite have errors of their own for it
    texts = ["No space left on device", "database or disk is full", "Disk quota exceeded"]
    if shutil.disk_usage(".").free < FULL_BYTES:  # what SQLite says of it, among others
        texts += ["disk I/O error", "unable to open database file"]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(text in str(error) for text in texts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, or while handling what."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _end_progress_bars() -> None:
    """Let what comes next begin a line of its own."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()


def _format_warning(message: Warning | str, *_: object) -> str:
    """A warning as people are told it: which line of which file it came from is not theirs."""
    return f"warning: {message}\n"
