"""The errors of flows; their base class is in ``pipeline_steps.base.errors``.

PipelineError
├── WorkspaceError       the git ref, or the clone that a retraining runs in, can't be used
├── StageError           a DVC stage failed; says which, and whether a retry may help
├── PromotionError       a version can't be judged, promoted or rolled back to
└── ServerError          the Prefect server in use is missing or can't be used
"""

from collections.abc import Callable

from pipeline_steps.base.errors import TRY_LATER, PipelineError, report_errors
from pipeline_steps.tracking import mlflow_server


class WorkspaceError(PipelineError):
    """The repository, the ref or the workspace can't be used."""


class StageError(PipelineError):
    """A stage of the pipeline failed."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        """Whether a retry may help: the network, a server or a lock was the reason."""
        self.exit_code = TRY_LATER if may_pass else 1


class PromotionError(PipelineError):
    """A version doesn't exist, can't be loaded, or can't be judged."""


class ServerError(PipelineError):
    """No Prefect server is set or responds, or it rejected the request."""


def run_flow_command(command: Callable[[], None]) -> None:
    """Run a command's ``main``; our errors and MLflow's become one line and an exit code."""

    def run() -> None:
        with mlflow_server.plain_errors():
            command()

    report_errors(run)
