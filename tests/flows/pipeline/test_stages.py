"""Stages come from ``dvc.yaml`` alone; what happened to one is read from DVC's own words."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.errors import StageError, WorkspaceError
from flows.pipeline.stages import explain, read_outcome, read_stages, reproduce_stage

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Our dvc.yaml in a repository of its own."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_stages_are_those_of_dvc_yaml_in_the_order_of_the_data(repository: Path) -> None:
    stages = {stage.name: stage for stage in read_stages(repository)}
    assert list(stages) == ["download", "prepare", "train", "evaluate", "export"]
    assert stages["evaluate"].upstream == ("prepare", "train")
    assert [name for name, stage in stages.items() if stage.refresh] == ["download"]
    assert "pix2pix" in stages["train"].desc


def test_a_stage_added_to_dvc_yaml_appears_by_itself(repository: Path) -> None:
    path = repository / "dvc.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["stages"]["quantize"] = {"cmd": "true", "deps": ["models/colorizer"], "outs": ["small"]}
    path.write_text(yaml.safe_dump(tree))
    stages = {stage.name: stage for stage in read_stages(repository)}
    assert stages["quantize"].upstream == ("export",)
    assert list(stages)[-1] == "quantize"


def test_a_broken_dvc_yaml_is_one_line(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: [")
    with pytest.raises(WorkspaceError) as caught:
        read_stages(repository)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("Running stage 'train':", "ran"),
        ("Stage 'train' is cached - skipping run, checking out outputs", "restored"),
        ("Stage 'train' didn't change, skipping", "unchanged"),
        ("Data and pipelines are up to date.", "unchanged"),
    ],
)
def test_outcomes_are_read(line: str, outcome: str) -> None:
    assert read_outcome("train", [line]) == outcome


def test_a_stage_that_failed_gives_its_own_reason() -> None:
    lines = [
        "Running stage 'train':",
        "error: train.batch_size: must be ≥ 1, got 0",
        "ERROR: failed to reproduce 'train': failed to run: python -m x, exited with 1",
    ]
    error = explain("train", 255, lines)
    assert str(error) == "train: train.batch_size: must be ≥ 1, got 0"
    assert not error.may_pass


@pytest.mark.slow
def test_a_held_dvc_lock_may_pass(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"
    (repository / "wait.py").write_text(wait)
    stage = {"cmd": "python wait.py", "outs": ["never"]}
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"hold": stage}}))
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
        with pytest.raises(StageError, match="hold: ") as caught:
            reproduce_stage("hold", repository, force=True, on_line=print)
    finally:
        (repository / "go").touch()
        holder.communicate(timeout=60)
    assert caught.value.may_pass


def test_what_may_pass_by_itself_is_told_from_what_may_not() -> None:
    temporary = [
        "error: no MLflow server answers at http://x",
        "ERROR: failed to reproduce 'train': failed to run: python -m x, exited with 75",
    ]
    assert explain("train", 255, temporary).may_pass
    busy = ["ERROR: '/x/data' is busy, it is being blocked by:", "  (PID 7): dvc repro"]
    assert explain("train", 1, busy).may_pass
    assert not explain("train", -9, []).may_pass
    assert "signal 9" in str(explain("train", -9, []))
