"""What is known of a training on Ray without a cluster; with one: tests/whole/test_processes.py."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from colorizer.base.errors import RayClusterError
from pipeline_steps.base.errors import TrackingUnreachableError, TrainingError
from pipeline_steps.params import Params
from pipeline_steps.train import on_ray, stage


class Cluster:
    """As much of a cluster as is asked."""

    address = "10.0.0.5:6379"

    def __init__(self, **resources: int) -> None:
        self.ray = SimpleNamespace(cluster_resources=lambda: resources)
        self.count_cpus = lambda: resources["CPU"]


def choose(cluster: Any, device: str) -> bool:
    return on_ray.choose_gpus(cluster, device, 4)


def test_gpus_are_used_if_there_are_enough() -> None:
    assert choose(Cluster(CPU=8, GPU=4), "auto")
    assert choose(Cluster(CPU=8, GPU=4), "cuda")
    assert not choose(Cluster(CPU=8, GPU=4), "cpu")
    assert not choose(Cluster(CPU=8, GPU=3), "auto")


def test_a_cluster_that_is_too_small_is_refused() -> None:
    with pytest.raises(RayClusterError, match=r"processes: 4, but .* has 3 GPUs; set fewer"):
        choose(Cluster(CPU=8, GPU=3), "cuda")
    with pytest.raises(RayClusterError, match=r"10\.0\.0\.5:6379 has 2 processors"):
        choose(Cluster(CPU=2), "auto")


@pytest.fixture
def job(params: Params, tmp_path: Path) -> on_ray.Job:
    return on_ray.Job(
        repository=tmp_path,
        output=tmp_path / "output",
        failure=tmp_path / "failure.json",
        params=params,
        on_gpus=False,
        versions={},
        environment={},
    )


def test_an_error_of_ours_is_passed_on_with_its_exit_code(
    job: on_ray.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ray.raise_failure(job.failure)

    def fail(job: on_ray.Job) -> None:
        raise TrackingUnreachableError("no answer")

    monkeypatch.setattr(on_ray, "_train_and_print", fail)
    monkeypatch.chdir(Path.cwd())
    job.output.touch()
    with pytest.raises(TrackingUnreachableError):
        on_ray.train_in_worker(job)
    with pytest.raises(TrainingError, match="no answer") as raised:
        on_ray.raise_failure(job.failure)
    assert raised.value.exit_code == TrackingUnreachableError.exit_code


def test_a_machine_that_does_not_see_the_project_says_so(job: on_ray.Job) -> None:
    with pytest.raises(RayClusterError, match=r"machine .* doesn't see it"):
        on_ray.train_in_worker(job)


def test_a_machine_with_another_torch_says_so(job: on_ray.Job) -> None:
    job.output.touch()
    with pytest.raises(RayClusterError, match=r"torch .* instead of 1\.0: outputs might differ"):
        on_ray.train_in_worker(dataclasses.replace(job, versions={"torch": "1.0"}))


def test_several_processes_are_started_by_torchrun_or_ray(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = dataclasses.replace(params.train, processes=2)
    monkeypatch.setattr(stage, "read_params", lambda: dataclasses.replace(params, train=train))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(TrainingError, match="torchrun --nproc-per-node 2 -m pipeline_steps train"):
        stage.main()
