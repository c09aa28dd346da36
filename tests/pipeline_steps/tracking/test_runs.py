"""What a run is called and tagged with: experiment, branch, description."""

import subprocess
from pathlib import Path

import pytest

from pipeline_steps.tracking import mlflow_server, run_entries, runs
from pipeline_steps.tracking.delivery import Delivery
from pipeline_steps.tracking.journal import RunJournal
from pipeline_steps.tracking.run_file import TrainingRun

TRAINING = TrainingRun(
    run_id="0" * 32,
    training="0123456789abcdef",
    tracking_uri="http://elsewhere",
    data={},
    name="odd-owl",
    description="24 pairs",
)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository on the branch ``hair``; the test runs in it."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    folder = in_folder / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "hair")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("repository")
def test_a_run_bears_the_branch_and_the_dvc_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = runs.git_tags()
    assert tags[runs.BRANCH_TAG] == "hair"
    assert runs.EXPERIMENT_TAG not in tags
    assert runs.run_name("0123456789abcdef") == "training 01234567"
    monkeypatch.setenv("DVC_EXP_NAME", "odd-owl")
    assert runs.git_tags()[runs.EXPERIMENT_TAG] == "odd-owl"
    assert runs.run_name("0123456789abcdef") == "odd-owl"


def test_a_temporary_experiment_bears_the_branch_of_the_repository_at_its_commit(
    repository: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = in_folder / "temporary"
    git(in_folder, "clone", "-q", str(repository), str(temporary))
    git(temporary, "checkout", "-q", "--detach")
    monkeypatch.chdir(temporary)
    assert runs.BRANCH_TAG not in runs.git_tags()
    monkeypatch.setenv("DVC_ROOT", str(repository))
    assert runs.git_tags()[runs.BRANCH_TAG] == "hair"
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    assert runs.BRANCH_TAG not in runs.git_tags()


def test_a_run_is_made_with_its_name_also_when_it_is_rebuilt_from_files(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    client = mlflow_server.connect()
    journal = run_entries.open_journal(in_folder, TRAINING)
    run = client.get_run(Delivery.to_run_of(client, "e", journal).run_id)
    assert run.info.run_name == "odd-owl"
    assert run.data.tags[runs.DESCRIPTION_TAG] == "24 pairs"
    unnamed = Delivery.to_run_of(client, "e", RunJournal(in_folder / "fedcba9876543210"))
    assert client.get_run(unnamed.run_id).info.run_name == "training fedcba98"


@pytest.mark.parametrize(
    ("column", "name"),
    [("val_l1", "val/l1"), ("loss_l1", "train/loss_l1"), ("seen_images", "train/seen_images")],
)
def test_a_metric_of_an_epoch_has_its_group(column: str, name: str) -> None:
    assert run_entries.metric_name(column) == name
