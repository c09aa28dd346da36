"""The flow's stages are read from ``dvc.yaml``."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flows.errors import WorkspaceError
from flows.pipeline.stages import read_stages

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A new repository with the project's dvc.yaml."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_stages_are_those_of_dvc_yaml_in_dependency_order(repository: Path) -> None:
    stages = {stage.name: stage for stage in read_stages(repository)}
    assert list(stages) == ["download", "prepare", "train", "evaluate", "export"]
    assert stages["evaluate"].upstream == ("prepare", "train")
    assert [name for name, stage in stages.items() if stage.refresh] == ["download"]
    assert "pix2pix" in stages["train"].desc


def test_a_stage_added_to_dvc_yaml_is_found(repository: Path) -> None:
    path = repository / "dvc.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["stages"]["quantize"] = {"cmd": "true", "deps": ["models/colorizer"], "outs": ["small"]}
    path.write_text(yaml.safe_dump(tree))
    stages = {stage.name: stage for stage in read_stages(repository)}
    assert stages["quantize"].upstream == ("export",)
    assert list(stages)[-1] == "quantize"


def test_an_invalid_dvc_yaml_is_reported_in_one_line(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: [")
    with pytest.raises(WorkspaceError) as caught:
        read_stages(repository)
    assert "\n" not in str(caught.value)
