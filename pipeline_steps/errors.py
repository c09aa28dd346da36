"""What can go wrong in a stage, as people are told it.

PipelineError            one line: what was wrong, where, and what to do
├── ParamError           params.yaml says something that can't be done
├── SourceError          the source of pairs can't be had, or is not what it should be
│   └── SourceUnreachableError     … and that may pass by itself
├── DataError            the pairs, packed or raw, can't be used
├── TrainingError        the training can't start, go on, or be resumed
├── ExportError          the exported generator is not the trained one
└── TrackingError        the MLflow server at hand can't be used
    └── TrackingUnreachableError   … and that may pass by itself
"""

import os
import sys
from collections.abc import Callable

from pipeline_steps.process import die_with_parent

TRY_LATER = 75
"""Exit code of a failure that may pass by itself: EX_TEMPFAIL of sysexits.h."""


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


class TrainingError(PipelineError):
    """The training can't go on: a non-finite loss, a checkpoint of another training."""


class ExportError(PipelineError):
    """The exported generator differs from the trained one, or can't be written."""


class TrackingError(PipelineError):
    """The MLflow server can't be reached or refuses us."""


class TrackingUnreachableError(TrackingError):
    """No MLflow server answers."""

    exit_code = TRY_LATER


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage's ``main``; turn a failure into one line on stderr and an exit code.

    A :class:`PipelineError` exits with its ``exit_code``, an interrupt with 130.
    ``COLORIZER_TRACEBACK=1`` shows the traceback as well. Errors that are nobody's fault but ours
    stay loud. A stage that DVC runs ends with it.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent()
    try:
        stage()
    except (PipelineError, OSError) as error:
        if os.environ.get("COLORIZER_TRACEBACK"):
            raise
        if isinstance(error, OSError) and not error.strerror:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, PipelineError) else 1)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(130)
