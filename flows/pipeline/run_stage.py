"""``python -m flows.pipeline.run_stage STAGE --report FILE``: one DVC stage, as a child process.

Runs the stage by DVC's Python API and writes what happened to it to a JSON file, a
:class:`StageReport`. The output of the stage and of DVC goes to stdout and stderr. The process ends
with its parent: DVC by itself outlives a killed flow, and would write while the next run does.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from colorizer.base.files import write_json
from colorizer.base.redaction import add_secrets, is_secret_name, redact_output
from pipeline_steps.base.errors import TRY_LATER
from pipeline_steps.base.signals import die_with_parent
from pipeline_steps.commands.dvc_lock import FILE, quarantine_truncated_lock

Outcome = Literal["ran", "restored", "unchanged"]
"""Its command was run; DVC's run cache had the results; there was nothing to do."""


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What happened to a stage: an outcome, or the error that ended it."""

    outcome: Outcome | None = None
    """None if it failed."""
    error: str = ""
    """Class of the exception, e.g. ``StageCmdFailedError``."""
    message: str = ""
    """Of that exception, on one line."""
    exit_code: int | None = None
    """Of the stage's command, if that is what failed; negative for a signal."""
    may_pass: bool = False
    """Whether a retry may succeed: DVC's lock is held, or the stage exited with ``TRY_LATER``."""


def main() -> int:
    """Run the stage and write the report; the exit code is 1 if the stage failed."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline.run_stage")
    parser.add_argument("stage", help="named as for `dvc repro`")
    parser.add_argument("--report", type=Path, required=True, metavar="FILE")
    parser.add_argument("--force", action="store_true", help="run it although nothing changed")
    parser.add_argument("--pull", action="store_true", help="get files from DVC's remote")
    arguments = parser.parse_args()
    die_with_parent()
    redact_output()
    quarantine_truncated_lock(Path(FILE).resolve())
    report = reproduce(arguments.stage, force=arguments.force, pull=arguments.pull)
    write_json(arguments.report, asdict(report))
    return 0 if report.outcome else 1


def reproduce(name: str, *, force: bool, pull: bool = False) -> StageReport:
    """``dvc repro --single-item`` in the current folder, and its outcome.

    With ``pull``, files that the cache lacks come from DVC's remote, whose run cache was fetched.
    """
    import dvc.stage.run
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.cache import StageCache
    from dvc.stage.exceptions import StageCmdFailedError

    exit_codes: list[int] = []
    restored: list[str] = []

    class CommandFailedError(StageCmdFailedError):  # type: ignore[misc]
        """DVC's own puts the exit code into its message only."""

        def __init__(self, cmd: str, status: int) -> None:
            super().__init__(cmd, status)
            exit_codes.append(status)

    class WatchedRunCache(StageCache):  # type: ignore[misc]
        """``Repo.reproduce`` returns restored stages and those that ran alike."""

        def restore(self, stage: Any, *args: Any, **kwargs: Any) -> None:
            super().restore(stage, *args, **kwargs)  # raises RunCacheNotFoundError
            restored.append(stage.addressing)

        def pull(self, *_: Any, **__: Any) -> list[tuple[str, str]]:
            return []  # a request for each stage ever run, before each stage

    dvc.stage.run.StageCmdFailedError = CommandFailedError
    try:
        with closing(Repo()) as repo:
            for remote in repo.config["remote"].values():
                add_secrets(*(str(v) for name, v in remote.items() if is_secret_name(name)))
            repo.scm_context.quiet = True  # no advice to `git add dvc.lock`
            repo.stage_cache = WatchedRunCache(repo)
            reproduced = repo.reproduce(targets=[name], single_item=True, force=force, pull=pull)
    except DvcException as error:
        return describe_error(error, exit_codes[-1] if exit_codes else None)
    if not reproduced:
        return StageReport(outcome="unchanged")
    return StageReport(outcome="restored" if restored else "ran")


def describe_error(error: Exception, exit_code: int | None) -> StageReport:
    """The report of a failure: DVC raises what went wrong as the cause of a general exception."""
    from dvc.exceptions import ReproductionError
    from dvc.lock import LockError

    chain = [each for each in _causes(error) if not isinstance(each, ReproductionError)]
    reason = chain[0] if chain else error
    is_locked = any(isinstance(each, LockError) for each in chain)
    return StageReport(
        error=type(reason).__name__,
        message=" ".join(str(reason).split()),
        exit_code=exit_code,
        may_pass=is_locked or exit_code == TRY_LATER,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


if __name__ == "__main__":
    sys.exit(main())
