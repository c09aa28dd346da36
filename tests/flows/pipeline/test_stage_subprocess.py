"""Real stages run by DVC: the outcome, the error's reason and whether it may be retried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.errors import StageError
from flows.pipeline.stage_subprocess import (
    describe_exit,
    reproduce_in_subprocess,
    run_in_workspace,
)

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with one stage, a script that copies a file."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    # DVC runs the command with it; bash replaces itself by the command, other shells wait for it
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text((REPOSITORY / ".dvc" / "config").read_text())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "input").write_text("one")
    write_stage(tmp_path, "import shutil; shutil.copy('input', 'output')")
    return tmp_path


def write_stage(folder: Path, script: str) -> None:
    (folder / "make_copy.py").write_text(script)
    stage = {"cmd": "python make_copy.py", "deps": ["input", "make_copy.py"], "outs": ["output"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": stage}}))


def reproduce(folder: Path, *, force: bool = False) -> tuple[str, list[str]]:
    lines: list[str] = []
    return reproduce_in_subprocess("copy", folder, force=force, on_line=lines.append), lines


def reproduce_failing(folder: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        reproduce(folder)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_stage_is_run_then_unchanged_then_restored_from_the_cache(repository: Path) -> None:
    outcome, lines = reproduce(repository)
    assert outcome == "ran"
    assert "> python make_copy.py" in lines
    assert not any("git add" in line or "dvc push" in line for line in lines)
    assert reproduce(repository)[0] == "unchanged"
    (repository / "input").write_text("two")
    assert reproduce(repository)[0] == "ran"
    (repository / "input").write_text("one")
    assert reproduce(repository)[0] == "restored"
    assert (repository / "output").read_text() == "one"
    assert reproduce(repository, force=True)[0] == "ran"


def test_the_reason_of_a_failed_stage_is_its_last_error_line(repository: Path) -> None:
    write_stage(
        repository, "import sys; print('error: no'); sys.exit('error: input: not a number')"
    )
    error = reproduce_failing(repository)
    assert str(error) == "copy: input: not a number"
    assert not error.may_pass


def test_a_stage_that_exits_with_75_may_be_retried(repository: Path) -> None:
    write_stage(repository, "import sys; print('error: the server is down'); sys.exit(75)")
    error = reproduce_failing(repository)
    assert str(error) == "copy: the server is down"
    assert error.may_pass


@pytest.mark.parametrize(
    "pid", ["os.getpid()", "os.getppid()"], ids=["the stage's command", "the child that runs DVC"]
)
def test_the_reason_of_a_killed_process_names_the_signal(repository: Path, pid: str) -> None:
    write_stage(repository, f"import os; os.kill({pid}, 9); os.kill(os.getpid(), 9)")
    error = reproduce_failing(repository)
    assert str(error) == "copy: ended by signal 9"
    assert not error.may_pass


def test_the_reason_of_an_error_of_dvc_is_its_message(repository: Path) -> None:
    (repository / "input").unlink()
    error = reproduce_failing(repository)
    assert str(error) == f"copy: [Errno 2] No such file or directory: '{repository}/input'"
    assert not error.may_pass


def test_a_missing_output_is_reported_with_dvcs_message(repository: Path) -> None:
    write_stage(repository, "pass")
    error = reproduce_failing(repository)
    assert str(error) == "copy: output 'output' does not exist"


def test_the_reason_of_a_failed_command_is_its_last_error_line(repository: Path) -> None:
    script = "import sys; print('one'); print('error: no server'); sys.exit(75)"
    with pytest.raises(StageError, match=r"^register: no server$") as caught:
        run_in_workspace("register", [sys.executable, "-c", script], repository, on_line=print)
    assert caught.value.may_pass


def test_without_a_report_the_last_line_or_the_signal_is_the_reason() -> None:
    assert str(describe_exit("train", 1, ["Traceback", "KeyError: 1"])) == "train: KeyError: 1"
    assert str(describe_exit("train", -9, ["error: x"])) == "train: ended by signal 9"
    assert not describe_exit("train", -9, []).may_pass


@pytest.mark.slow
def test_a_held_dvc_lock_may_be_retried(repository: Path) -> None:
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"
    write_stage(repository, wait + "open('output', 'w')")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    holder = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=repository,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert any("Running stage" in line for line in iter(holder.stdout.readline, ""))
        error = reproduce_failing(repository)
    finally:
        (repository / "go").touch()
        holder.communicate(timeout=60)
    assert error.may_pass
    assert "blocked by" in str(error)
