"""The retraining: fresh data, the DVC stages, champion against challenger.

``python -m flows.retrain [key=value …]`` runs it here and now; ``make serve`` and ``prefect.yaml``
on a schedule. It runs in a clone of its own (``pipeline/workspace.py``), the stages are those of
``dvc.yaml`` (``pipeline/stages.py``), each started as a child process
(``pipeline/stage_subprocess.py``), and DVC alone knows what is up to date. Stopped or killed at any
point, the next run resumes from the last checkpoint.
"""

import argparse
import functools
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, runtime, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from colorizer.base.files import file_sha256
from colorizer.model.folder import ONNX_FILE
from flows.errors import StageError, run_flow_command
from flows.pipeline.run_stage import Outcome
from flows.pipeline.stage_subprocess import reproduce_in_subprocess, run_in_workspace
from flows.pipeline.stages import Stage, read_stages
from flows.pipeline.workspace import (
    Workspace,
    claim_workspace,
    count_uncommitted,
    prepare_workspace,
    require_overrides,
)
from flows.promotion.champion import judge_and_carry_out, settle, was_decided
from flows.promotion.judgement import open_test_set
from flows.promotion.report import summarize_decision
from flows.ui.approval import show_and_confirm
from flows.ui.artifacts import show_links, show_metrics, show_picture
from flows.ui.flow_run import ending_stages, failed_state_on_error, flow_run_url
from flows.ui.missed_ticks import stand_for_missed_ticks
from flows.ui.registry_lease import connect_registry
from pipeline_steps.base.errors import PipelineError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import (
    EVALUATION_METRICS,
    EXPORTED_MODEL,
    PREPARED,
    RANDOM_GRID,
    STRIPS,
    TRAIN_WORK,
    WORST_GRID,
)
from pipeline_steps.commands.overrides import parse_assignments, split_words
from pipeline_steps.register.command import find_registered
from pipeline_steps.tracking import mlflow_server

MAX_NAME_CHARS = 120
RETRIES = 3
FIRST_RETRY_S = 10
PICTURES = {
    "test-grid": (RANDOM_GRID, "sketch, generated, truth; two per row"),
    "worst-grid": (WORST_GRID, "the worst test pictures by L1"),
    "training-strips": (STRIPS, "sketch, truth, then the epochs"),
}


def may_pass(task: "Task[Any, Any]", run: TaskRun, state: "State[Any]") -> bool:
    """Whether a retry may help: the network, a server, a lock; never a bad param."""
    try:
        state.result()
    except PipelineError as error:
        return error.exit_code == StageError("", may_pass=True).exit_code
    except Exception:
        return False
    return False


retrying = task(
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_RETRY_S),
    retry_jitter_factor=0.5,
    retry_condition_fn=may_pass,
)


def name_run() -> str:
    """What a run does, for Prefect's pages: "retrain HEAD, train.epochs=30"."""
    given = runtime.flow_run.parameters
    words = [f"{key}={value}" for key, value in (given.get("overrides") or {}).items()]
    forced = ["forced"] if given.get("force") else []
    return ", ".join([f"retrain {given.get('ref', 'HEAD')}", *forced, *words])[:MAX_NAME_CHARS]


@flow(name="retrain", flow_run_name=name_run, validate_parameters=True)
@failed_state_on_error
def retrain(
    ref: str = "HEAD",
    overrides: dict[str, Any] | None = None,
    force: bool = False,
    promote: Literal["yes", "no", "ask"] = "yes",
    repository: str = ".",
    share: bool = False,
) -> State[Any]:
    """Refresh the data, run what isn't up to date, and let the new model challenge the champion.

    Args:
        ref: branch, tag or commit of the repository to run; uncommitted edits are left out.
        overrides: params to change for this run, e.g. ``{"train.epochs": 30}``.
        force: run every stage, even where nothing changed.
        promote: ``ask`` waits for a person in the UI; ``no`` only registers the candidate.
        repository: where the git repository is.
        share: get what is up to date from DVC's default remote, and store the results there.
    """
    source = Path(repository)
    ticks = stand_for_missed_ticks()
    with ending_stages(), claim_workspace(source) as folder:
        workspace = open_workspace.submit(folder, source, ref, overrides or {}).result()
        if share:
            use_remote.with_options(name="fetch").submit(workspace, "fetch").result()
        outcomes = run_stages(workspace, force=force, share=share)
        if share:
            use_remote.with_options(name="push").submit(workspace, "push").result()
        version = register_model.submit(workspace).result()
        show_results.submit(workspace, version).result()
        changed = [name for name, outcome in outcomes.items() if outcome == "ran"]
        stages_run = f"{ticks}ran {', '.join(changed) or 'nothing'}"
        if promote == "no":
            return Completed(message=f"{stages_run}; candidate is version {version}, not judged")
        return challenge(workspace, version, stages_run, ask=promote == "ask")


@task(name="workspace")
@failed_state_on_error
def open_workspace(
    folder: Path, repository: Path, ref: str, overrides: dict[str, Any]
) -> Workspace:
    """Bring the clone to the ref, with the params of this run."""
    workspace = prepare_workspace(folder, repository, ref, overrides)
    log = get_run_logger()
    log.info("%s is at %s, from %s", folder, workspace.commit[:12], ref)
    if uncommitted := count_uncommitted(repository):
        edits = "1 uncommitted edit" if uncommitted == 1 else f"{uncommitted} uncommitted edits"
        log.warning("%s has %s: left out", repository.resolve(), edits)
    return workspace


@retrying
@failed_state_on_error
def use_remote(workspace: Workspace, action: Literal["fetch", "push"]) -> None:
    """Exchange results with DVC's default remote; goes on where an earlier try ended."""
    command = [sys.executable, "-m", "pipeline_steps", "remote", action]
    run_in_workspace(action, command, workspace.folder, on_line=get_run_logger().info)


def run_stages(workspace: Workspace, *, force: bool, share: bool) -> dict[str, Outcome]:
    """Run the stages of ``dvc.yaml`` as tasks, each after those it depends on."""
    if force:
        for finished in workspace.folder.glob(f"{TRAIN_WORK}/*/finished"):
            shutil.rmtree(finished.parent)  # else train reuses the finished training
    futures: dict[str, PrefectFuture[Any]] = {}
    for stage in read_stages(workspace.folder):
        upstream = [futures[name] for name in stage.upstream]
        futures[stage.name] = run_dvc_stage.with_options(
            name=stage.name, description=stage.desc
        ).submit(
            stage,
            workspace.folder,
            force=force or stage.refresh,
            pull=share,
            wait_for=upstream,
            return_state=False,
        )
    for future in futures.values():
        future.wait()
    # raises the first failure, not that of a stage which therefore wasn't started
    return {name: future.result() for name, future in futures.items()}


@retrying
@failed_state_on_error
def run_dvc_stage(stage: Stage, folder: Path, *, force: bool, pull: bool) -> "State[Any] | Outcome":
    """One stage: its lines are the task's log; up to date, the task shows as cached."""
    log = get_run_logger()
    outcome = reproduce_in_subprocess(stage.name, folder, force=force, pull=pull, on_line=log.info)
    if outcome == "ran":
        return outcome
    return Completed(name="Cached", message=f"{stage.name}: {outcome}, not run", data=outcome)


@retrying
@failed_state_on_error
def register_model(workspace: Workspace) -> int:
    """Register the model as ``candidate``; return its version. Idempotent."""
    log = get_run_logger()
    command = [sys.executable, "-m", "pipeline_steps", "register"]
    run_in_workspace("register", command, workspace.folder, on_line=log.info)
    client, name = mlflow_server.connect(), workspace.params.tracking.registered_model
    model = workspace.folder / EXPORTED_MODEL / ONNX_FILE
    version = find_registered(client, name, file_sha256(model))
    if version is None:
        raise StageError(f"register: {name} has no version with the sha256 of {model}")
    return int(version.version)


@task(name="results")
@failed_state_on_error
def show_results(workspace: Workspace, version: int) -> None:
    """Show metrics, pictures and links in the Prefect UI."""
    evaluation = workspace.folder / EVALUATION_METRICS
    show_metrics(read_json(evaluation))
    for key, (path, description) in PICTURES.items():
        show_picture(key, workspace.folder / path, description)
    client, name = mlflow_server.connect(), workspace.params.tracking.registered_model
    run = client.get_run(client.get_model_version(name, str(version)).run_id or "")
    show_links(run.info.experiment_id, run.info.run_id, name, version)


def challenge(workspace: Workspace, version: int, stages_run: str, *, ask: bool) -> State[Any]:
    """Judge the version against the champion, and act; not if that was decided before."""
    params = workspace.params
    registry = connect_registry(params.tracking.registered_model)
    test_set = open_test_set(workspace.folder / PREPARED, st_lpips=params.scores.st_lpips)
    standing = settle(registry)
    if was_decided(standing, version, test_set.fingerprint, params.promotion):
        is_champion = standing.champion == version
        state = "is champion" if is_champion else f"was refused against version {standing.champion}"
        known = f"no new version: {registry.name} version {version} {state} already"
        return Completed(name="Unchanged", message=f"{stages_run}; {known}")
    entry = judge_and_carry_out(
        registry,
        version,
        test_set,
        params.promotion,
        confirm=functools.partial(show_and_confirm, ask=ask),
        flow_run=flow_run_url(),
        standing=standing,
    )
    message = f"{stages_run}; {summarize_decision(registry.name, entry)}"
    get_run_logger().info("%s", message)
    return Completed(name=entry.action.capitalize(), message=message)


def main() -> None:
    """Run a retraining here and now."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.retrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. train.epochs=30")
    parser.add_argument("--set", default="", metavar="WORDS", help="more of them, as one argument")
    parser.add_argument("--ref", default="HEAD", help="git ref to run (default: %(default)s)")
    parser.add_argument(
        "--force", action="store_true", help="run every stage, even where nothing changed"
    )
    parser.add_argument(
        "--share", action="store_true", help="fetch from and push to DVC's default remote"
    )
    parser.add_argument("--promote", choices=("yes", "no", "ask"), default="yes")
    arguments = parser.parse_args()
    overrides = parse_assignments([*split_words(arguments.set), *arguments.overrides])
    require_overrides(Path(), arguments.ref, overrides)  # before a server is started for the flow
    state = retrain(
        ref=arguments.ref,
        overrides=overrides,
        force=arguments.force,
        promote=arguments.promote,
        share=arguments.share,
        return_state=True,
    )
    print(f"retrain: {state.name}: {state.message}", file=sys.stderr)
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    run_flow_command(main)
