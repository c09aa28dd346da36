"""The processes of a training on a Ray cluster, started by Ray Train's ``TorchTrainer``.

``train.engine: ray`` trains in ``train.processes`` processes on the cluster of ``RAY_ADDRESS``, or
of this machine without it: each runs what ``torchrun`` would, with the same weights. The project
must lie on storage that all machines share, at the same path: each process reads the pairs there,
and rank 0 writes the checkpoints and the outputs. When a process or its machine dies, Ray starts
all of them again, and they resume from the newest checkpoint.
"""

import json
import os
import platform
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.errors import ColorizerError, RayClusterError
from colorizer.base.files import write_json
from colorizer.base.ray_actors import describe_versions, require_versions
from colorizer.base.ray_cluster import RayCluster, end_own_cluster, ray_cluster
from pipeline_steps.base import signals
from pipeline_steps.base.errors import PipelineError, TrainingError
from pipeline_steps.base.paths import RAY_WORK

if TYPE_CHECKING:
    from pipeline_steps.params import Params

MAX_RESTARTS = 10
"""Of the processes, after one of them died; an error of ours is final at once."""
LOOK_INTERVAL_S = 0.5
"""Between looks at what rank 0 has printed, and at whether the cluster answers."""
_WITHOUT_GPU = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
_PASSED_ON = ("AWS_", "COLORIZER_", "DVC_", "MLFLOW_")
"""Variables of this environment, by their first letters, that the processes have as well."""


@dataclass(frozen=True)
class Job:
    """What every process is told."""

    repository: Path
    output: Path
    """What rank 0 prints; shown by the process that started the training."""
    failure: Path
    """Written when the training fails for good: Ray would start it again."""
    params: "Params"
    on_gpus: bool
    versions: dict[str, str]
    environment: dict[str, str] = field(repr=False)


def train_on_ray(params: "Params") -> None:
    """Train as ``params.yaml`` says on a Ray cluster; return when the outputs are written.

    Raises :class:`TrainingError`, and :class:`~colorizer.base.errors.RayClusterError` if Ray isn't
    installed or the cluster is gone, too small, or of other versions.
    """
    processes = params.train.processes
    with (
        signals.calling_on_exit(end_own_cluster),
        ray_cluster(processes) as cluster,
        _new_folder(RAY_WORK) as folder,
    ):
        on_gpus = choose_gpus(cluster, params.train.device, processes)
        job = Job(
            repository=Path.cwd(),
            output=folder / "output",
            failure=folder / "failure.json",
            params=params,
            on_gpus=on_gpus,
            versions=_versions(),
            environment={k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)},
        )
        job.output.touch()
        check_machines(cluster, job)
        print(f"train: {processes} processes on the Ray cluster at {cluster.address}", flush=True)
        training = _Training(job, processes, folder)
        with job.output.open(errors="replace") as output:
            while training.is_alive():
                training.join(LOOK_INTERVAL_S)
                shutil.copyfileobj(output, sys.stdout)
                sys.stdout.flush()
                raise_failure(job.failure)
                cluster.require_alive()
            shutil.copyfileobj(output, sys.stdout)
        raise_failure(job.failure)
        if training.error is not None:
            raise _explained(training.error) from training.error


def choose_gpus(cluster: RayCluster, device: str, processes: int) -> bool:
    """Whether each process gets a GPU; ``auto``: if the cluster has enough of them.

    Raises :class:`RayClusterError` if it has too few GPUs, or processors: Ray would wait for ever.
    """
    gpus = int(cluster.ray.cluster_resources().get("GPU", 0))
    on_gpus = device == "cuda" or (device == "auto" and gpus >= processes)
    has, name = (gpus, "GPUs") if on_gpus else (cluster.count_cpus(), "processors")
    if has < processes:
        raise RayClusterError(
            f"train.processes: {processes}, but the Ray cluster at {cluster.address} has {has}"
            f" {name}; set fewer, or add machines"
        )
    return on_gpus


def check_machines(cluster: RayCluster, job: Job) -> None:
    """Raise :class:`RayClusterError` if a machine can't train; Ray would start it over and over."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = cluster.ray.remote(num_cpus=0)(require_same_project)
    nodes = [node for node in cluster.ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    try:
        cluster.ray.get([check.options(scheduling_strategy=each).remote(job) for each in there])
    except cluster.ray.exceptions.RayTaskError as error:
        raise error.cause from None


class _Training(threading.Thread):
    """Ray Train at work; in a thread, so that it can be watched and left."""

    def __init__(self, job: Job, processes: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._job, self._processes, self._folder = job, processes, folder
        self.start()

    def run(self) -> None:
        """Train; keep the error, if there is one."""
        import ray.train
        from ray.train.torch import TorchTrainer

        # less than five seconds are lost when a process dies
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
        os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
        os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # which prints twice
        trainer = TorchTrainer(
            partial(train_in_worker, self._job),
            scaling_config=ray.train.ScalingConfig(
                num_workers=self._processes, use_gpu=self._job.on_gpus
            ),
            run_config=ray.train.RunConfig(  # type: ignore[call-arg]  # typed as it was before
                name="ray",
                storage_path=str(self._folder),
                failure_config=ray.train.FailureConfig(max_failures=MAX_RESTARTS),
                # Ray hides no GPU from a process that asked for none
                worker_runtime_env=None if self._job.on_gpus else _WITHOUT_GPU,
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            self.error = error


@contextmanager
def _new_folder(work: Path) -> Iterator[Path]:
    """A folder for what Ray Train writes down, on the storage that all machines share."""
    folder = work.absolute() / uuid.uuid4().hex
    folder.mkdir(parents=True)
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        with signals.calling_on_exit(remove):
            yield folder
    finally:
        remove()


def _versions() -> dict[str, str]:
    return describe_versions() | {"torch": version("torch")}


def raise_failure(file: Path) -> None:
    """Raise the error that a process on the cluster has written down, if one has."""
    if file.exists():
        failure = json.loads(file.read_text(encoding="utf-8"))
        error = TrainingError(failure["message"])
        error.exit_code = failure["exit_code"]
        raise error


def _explained(error: Exception) -> TrainingError:
    """One line on what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return TrainingError(
        f"train: the processes on the Ray cluster failed again and again"
        f" ({lines[-1] if lines else type(error).__name__}); run the same command again to resume"
    )


# --- on the cluster ------------------------------------------------------------------------------


def train_in_worker(job: Job) -> None:
    """Train as one of the processes, once Ray Train has made them a process group."""
    require_same_project(job)
    os.environ |= job.environment
    os.chdir(job.repository)
    try:
        _train_and_print(job)
    except (PipelineError, ColorizerError) as error:
        code = getattr(error, "exit_code", 1)
        write_json(job.failure, {"message": str(error), "exit_code": code})
        raise


def require_same_project(job: Job) -> None:
    """Raise :class:`RayClusterError` if this machine doesn't see the project, or has another."""
    if not job.output.exists():
        raise RayClusterError(
            f"{job.repository}: machine {platform.node()} of the Ray cluster doesn't see it; put"
            " the project on storage that all of them share, at the same path, or set train.engine"
            " to local"
        )
    require_versions(job.versions, _versions())


def _train_and_print(job: Job) -> None:
    import ray.train

    from pipeline_steps.train.stage import train_in_group

    with job.output.open("a", buffering=1) as output, ExitStack() as stack:
        if ray.train.get_context().get_world_rank() == 0:
            stack.enter_context(redirect_stdout(output))
            stack.enter_context(redirect_stderr(output))
        train_in_group(job.params)
