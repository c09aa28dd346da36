"""Invalid input of the commands: one line that says what to do, and a non-zero exit code."""

import os
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.errors import run_flow_command

REPOSITORY = Path(__file__).parents[2]


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def folder(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the committed params."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return Path(shutil.copy(REPOSITORY / "params.yaml", in_folder)).parent


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: importing Prefect and MLflow for each takes seconds."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # commands set it

    def run(module: str, *arguments: str) -> Done:
        code = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [f"python -m {module}", *arguments])
            try:
                run_flow_command(import_module(module).main)
            except SystemExit as error:
                code = int(error.code or 0)
        return Done(code, *capsys.readouterr())

    return run


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
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    failed = run(*arguments)
    assert failed.code == 1
    (line,) = failed.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("command", ["flows.promote", "flows.rollback", "flows.history"])
def test_an_unavailable_mlflow_server_is_named_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    failed = run(command)
    assert failed.code == 75
    (line,) = failed.err.strip().splitlines()
    assert line.startswith("error: no MLflow server answers at http://127.0.0.1:9")
    assert "secret" not in line


def test_a_port_in_use_is_named(run: Run, folder: Path) -> None:
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run("flows.serve", "--port", str(taken.getsockname()[1]))
    assert failed.code == 1
    assert "is taken" in failed.err
    assert "give another: make serve PORT=" in failed.err


def test_refused_overrides_and_refs_are_named_before_a_server_starts(
    run: Run, folder: Path
) -> None:
    for arguments in (("init", "-q"), ("add", "params.yaml"), ("commit", "-qm", "params")):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        subprocess.run(git, cwd=folder, check=True)
    for words, reason in (
        (("train.epochs=-1",), "train.epochs: must be ≥ 1, got -1"),
        (("train.epoch=1",), "train.epoch: unknown key"),
        (("--ref", "nowhere"), "has no git ref 'nowhere'"),
    ):
        failed = run("flows.retrain", *words)
        (line,) = failed.err.strip().splitlines()
        assert line.startswith("error: ")
        assert reason in line
        assert failed.out == ""


def test_the_port_of_the_server_alone_is_checked_too(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run("flows.ui.server", "--port", str(taken.getsockname()[1]))
    (line,) = failed.err.strip().splitlines()
    assert "is in use by another program; choose another by --port" in line
    assert failed.code == 1


def test_an_empty_ledger_is_reported_by_the_command_itself(folder: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-m", "flows.history"],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("no decision about sketch-colorizer yet")


@pytest.mark.parametrize("command", ["promote", "rollback", "history", "retrain", "serve"])
def test_help_names_the_command(run: Run, command: str) -> None:
    done = run(f"flows.{command}", "--help")
    assert done.code == 0
    assert f"python -m flows.{command}" in done.out
