"""Invalid input of the commands: one line that says what to do, and a non-zero exit code."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flows.promote",), "no test set to judge on"),
        (("flows.promote", "9", "--unjudged", "x"), "sketch-colorizer has no version 9"),
        (("flows.rollback",), "sketch-colorizer has no alias previous"),
        (("flows.retrain", "epochs"), "epochs: must be key=value"),
    ],
)
def test_invalid_input_is_reported_in_one_line(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    failed = run(folder, *arguments)
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("command", ["flows.promote", "flows.rollback", "flows.history"])
def test_an_unavailable_mlflow_server_is_named_without_its_password(
    folder: Path, command: str
) -> None:
    failed = run(folder, command, MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:9")
    assert failed.returncode == 75
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith("error: no MLflow server answers at http://127.0.0.1:9")
    assert "secret" not in line


def test_a_port_in_use_is_named(folder: Path) -> None:
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run(folder, "flows.serve", "--port", str(taken.getsockname()[1]))
    assert failed.returncode == 1
    assert "is taken" in failed.stderr


def test_refused_overrides_and_refs_are_named_before_a_server_starts(folder: Path) -> None:
    for arguments in (("init", "-q"), ("add", "params.yaml"), ("commit", "-qm", "params")):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        subprocess.run(git, cwd=folder, check=True)
    for words, reason in (
        (("train.epochs=-1",), "train.epochs: must be ≥ 1, got -1"),
        (("train.epoch=1",), "train.epoch: unknown key"),
        (("--ref", "nowhere"), "has no git ref 'nowhere'"),
    ):
        failed = run(folder, "flows.retrain", *words)
        (line,) = failed.stderr.strip().splitlines()
        assert line.startswith("error: ")
        assert reason in line
        assert failed.stdout == ""


def test_the_port_of_the_server_alone_is_checked_too(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run(folder, "flows.ui.server", "--port", str(taken.getsockname()[1]))
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith("error: 127.0.0.1 port ")
    assert failed.returncode == 1


def test_an_empty_ledger_is_reported(folder: Path) -> None:
    done = run(folder, "flows.history")
    assert done.returncode == 0
    assert done.stdout.startswith("no decision about sketch-colorizer yet")


@pytest.mark.parametrize("command", ["promote", "rollback", "history", "retrain", "serve"])
def test_help_names_the_command(folder: Path, command: str) -> None:
    done = run(folder, f"flows.{command}", "--help")
    assert done.returncode == 0
    assert f"python -m flows.{command}" in done.stdout
