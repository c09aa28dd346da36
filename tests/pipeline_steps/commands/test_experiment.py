"""Experiments on a small DVC repository: a failed one changes nothing, any path is a path."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline_steps.params import read_params

REPOSITORY = Path(__file__).parents[3]
FILES = ("params.yaml", "params/archive.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore")
COPY = "cp params.yaml copy"
ODD = "a b (c)=d,e#f~g'h\"i $HOME ü 日本 [j] {k}: l.zip"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "-q")
    write_stage(folder, COPY)
    return folder


def write_stage(folder: Path, command: str) -> None:
    """One stage that depends on all params; committed."""
    stage = {"cmd": command, "params": ["download", "train"], "outs": ["copy"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": stage}}))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "state")


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def experiment(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "pipeline_steps", "experiment", "params/archive.yaml", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PATH": path},
        capture_output=True,
        text=True,
    )


def write_archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"a")
    return path


def test_an_experiment_runs_with_any_path_and_keeps_comments(repository: Path) -> None:
    odd = write_archive(repository.parent / ODD)
    words = "train.epochs=3 download.source=kaggle"  # as in params/kaggle.yaml
    done = experiment(repository, "--pairs", str(odd), "--set", words)
    assert done.returncode == 0, done.stderr
    params = read_params(repository / "copy")
    assert (params.download.source, params.download.path) == ("archive", str(odd))
    assert params.train.epochs == 3
    assert "# λ" in (repository / "params.yaml").read_text()
    assert "not registered" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pairs", "missing.zip"), "missing.zip: no such file or folder"),
        (("--pairs", "params.yaml"), "neither a zip nor a tar"),
        (("--pairs", "pairs.zip", "train.epoch=3"), "train.epoch"),
        (("--pairs", "pairs.zip", "--set", "x"), "x: must be key=value"),
        ((), "download.path"),
    ],
)
def test_an_experiment_that_cannot_start_changes_nothing(
    repository: Path, arguments: tuple[str, ...], reason: str
) -> None:
    write_archive(repository / "pairs.zip")
    before = (repository / "params.yaml").read_bytes()
    done = experiment(repository, *arguments)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert (repository / "params.yaml").read_bytes() == before
    assert not (repository / "copy").exists()


def test_a_failed_experiment_leaves_params_and_lock_as_they_were(repository: Path) -> None:
    archive = write_archive(repository.parent / "pairs.zip")
    assert experiment(repository, "--pairs", str(archive)).returncode == 0
    write_stage(repository, f"{COPY} && false")
    names = ("params.yaml", "dvc.lock")
    before = [(repository / name).read_bytes() for name in names]
    assert experiment(repository, "--pairs", str(archive), "train.epochs=3").returncode != 0
    assert [(repository / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("archive", ["experiment", "params/archive.yaml", "--pairs", ODD, "--set", ODD]),
        ("experiment", ["experiment", ODD, "--set", ODD]),
        ("kaggle", ["experiment", "params/kaggle.yaml", "--set", ODD]),
        ("retrain", ["flows.retrain", "--set", ODD]),
        ("promote", ["flows.promote", ODD]),
        ("rollback", ["flows.rollback", "--to", ODD]),
        ("studio", ["studio", "--model", ODD]),
        ("register", ["register", "--from", ODD]),
        ("bundle", ["bundle", ODD]),
    ],
)
def test_make_passes_any_characters_on(tmp_path: Path, target: str, expected: list[str]) -> None:
    """With commands that write their arguments instead."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("python", "colorize", "uv"):
        (commands / name).write_text(
            f"#!/bin/sh\nfor each; do printf '%s\\n' \"$each\"; done >> '{tmp_path}/arguments'\n"
        )
        (commands / name).chmod(0o755)
    (tmp_path / ".setup-auto").touch()
    names = ["PAIRS", "SET", "VERSION", "MODEL", "FROM", "TO"]
    names += ["PARAMS"] if target == "experiment" else []
    given = [f"{name}={ODD}" for name in names]
    subprocess.run(
        ["make", target, f"VENV={os.path.relpath(tmp_path, REPOSITORY)}", *given],
        cwd=REPOSITORY,
        check=True,
    )
    lines = (tmp_path / "arguments").read_text().splitlines()
    written = [line for line in lines if line not in ("-m", "pipeline_steps", "summary")]
    assert written == expected


@pytest.mark.parametrize("is_relocatable", [True, False])
def test_an_environment_that_can_not_be_moved_is_installed_anew(
    tmp_path: Path, is_relocatable: bool
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").touch()
    (tmp_path / ".setup-auto").touch()
    (tmp_path / "pyvenv.cfg").write_text(
        "home = /usr/bin\n" + "relocatable = true\n" * is_relocatable
    )
    command = ["make", "-n", "setup", f"VENV={tmp_path}", "TORCH=auto"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ("uv venv --quiet --relocatable" in done.stdout) == (not is_relocatable)
