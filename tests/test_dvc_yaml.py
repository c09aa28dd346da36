"""``dvc.yaml``: a stage's code deps contain exactly the project's files that it imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_steps.__main__ import COMMANDS
from pipeline_steps.base import paths
from pipeline_steps.params import Params, flatten, read_params
from pipeline_steps.train.fingerprint import NOT_DECIDING

REPOSITORY = Path(__file__).parents[1]
DVC_YAML: dict[str, Any] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
STAGES: dict[str, Any] = DVC_YAML["stages"]
OUR_PACKAGES = ("pipeline_steps", "colorizer", "flows")
NO_LOGIC = {"pipeline_steps/__init__.py", "colorizer/__init__.py"}
"""Package roots with a docstring and a lazy import that no stage uses."""


@cache
def imported_by(path: Path) -> frozenset[Path]:
    """The project's files that a file imports, also inside functions, and the file itself."""
    found = {path}
    for node in walk_what_runs(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {file for name in node.names for file in files_of(name.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            found |= files_of(node.module)
            found |= {f for name in node.names for f in files_of(f"{node.module}.{name.name}")}
    return frozenset(found)


def walk_what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those under ``if TYPE_CHECKING``."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from walk_what_runs(child)


def files_of(module: str) -> set[Path]:
    """The file of a project's module and the ``__init__`` files above it; else an empty set."""
    parts = module.split(".")
    if parts[0] not in OUR_PACKAGES:
        return set()
    file = REPOSITORY.joinpath(*parts).with_suffix(".py")
    package = REPOSITORY.joinpath(*parts, "__init__.py")
    if not file.exists() and not package.exists():
        return set()  # a name inside a module
    above = {REPOSITORY.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))}
    return above | ({file} if file.exists() else {package})


def closure(files: set[Path]) -> set[str]:
    """The project's files that these import, directly or indirectly, relative to the repository."""
    known: set[Path] = set()
    while files - known:
        path = next(iter(files - known))
        known.add(path)
        files = files | imported_by(path)
    return {path.relative_to(REPOSITORY).as_posix() for path in known}


def imports_of(stage: str) -> set[str]:
    # the entry point, pipeline_steps/__main__.py, influences no output
    command = STAGES[stage]["cmd"].removeprefix("python -m pipeline_steps ")
    return closure(files_of(COMMANDS[command])) - NO_LOGIC


def code_deps(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in OUR_PACKAGES]


def holds(dep: str, file: str) -> bool:
    """Whether a dep is the file or a folder that contains it, at any depth."""
    return Path(file).is_relative_to(dep)


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_deps_of_a_stage_are_its_imports(stage: str) -> None:
    deps, imports = code_deps(stage), imports_of(stage)
    missing = {file for file in imports if not any(holds(dep, file) for dep in deps)}
    assert missing == set(), f"{stage}: add a folder that holds them"
    unused = {dep for dep in deps if not any(holds(dep, file) for file in imports)}
    assert unused == set(), f"{stage}: imports nothing of these"


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_deps_are_few_folders_and_the_params_module(stage: str) -> None:
    deps = code_deps(stage)
    assert [dep for dep in deps if not (REPOSITORY / dep).is_dir()] == ["pipeline_steps/params.py"]
    assert len(deps) <= 9
    assert f"pipeline_steps/{stage}" == deps[0]


def test_no_stage_depends_on_the_flows_or_the_studio() -> None:
    for stage in STAGES:
        for file in imports_of(stage):
            assert not file.startswith(("flows/", "colorizer/studio/", "colorizer/look/"))


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("pipeline_steps/evaluate/grids.py", {"evaluate"}),
        ("pipeline_steps/export/model_card.py", {"export"}),
        ("pipeline_steps/train/losses.py", {"train"}),
        ("pipeline_steps/networks/generator.py", {"train", "evaluate", "export"}),
        ("pipeline_steps/register/command.py", set()),
        ("colorizer/pictures/decoding.py", {"prepare"}),
        ("colorizer/model/session.py", {"export"}),
        ("colorizer/runtime.py", set()),
        ("colorizer/look/palette.py", set()),
        ("colorizer/studio/app.py", set()),
        ("flows/retrain.py", set()),
        ("colorizer/base/pixels.py", set(STAGES)),
    ],
)
def test_an_edit_invalidates_only_these_stages(file: str, stages: set[str]) -> None:
    assert (REPOSITORY / file).exists()
    assert {
        stage for stage in STAGES if any(holds(dep, file) for dep in code_deps(stage))
    } == stages


def test_python_bytecode_is_not_a_dep() -> None:
    assert "__pycache__" in (REPOSITORY / ".dvcignore").read_text().splitlines()


def test_register_is_not_a_stage() -> None:
    assert "register" not in (REPOSITORY / "dvc.yaml").read_text().replace("registered_model", "")


def test_the_paths_in_the_code_are_those_of_dvc_yaml() -> None:
    named = {
        str(value)
        for name, value in vars(paths).items()
        if isinstance(value, Path) and not name.endswith(("_WORK", "_CACHE"))
    }
    outputs = {Path(out) for out in all_outputs()}
    for path in named:
        # an output, or a folder of outputs
        assert any(out.is_relative_to(path) for out in outputs), path
    for out in outputs:
        assert any(out.is_relative_to(path) for path in named), out


def all_outputs() -> list[str]:
    return [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for out in stage.get("outs", []) + stage.get("metrics", [])
    ]


def test_every_output_belongs_to_exactly_one_stage() -> None:
    outputs = all_outputs()
    assert len(outputs) == len(set(outputs))
    files = {
        dep
        for name, stage in STAGES.items()
        for dep in stage["deps"]
        if dep not in code_deps(name) and dep not in outputs
    }
    for file in files:
        assert any(Path(out).is_relative_to(file) for out in outputs), file


def test_each_param_belongs_to_a_stage() -> None:
    params = read_params(REPOSITORY / "params.yaml")
    assert isinstance(params, Params)
    tracked = {key for stage in STAGES.values() for key in stage["params"]}
    # a change of the rule, of a name in MLflow or of when checkpoints are written must not retrain
    untracked = {"tracking.experiment", "tracking.register_experiments", "prepare.engine"}
    untracked |= {f"train.{name}" for name in NOT_DECIDING}
    for key in flatten(params):
        is_tracked = key in tracked or key.split(".")[0] in tracked
        is_expected = key not in untracked and not key.startswith("promotion.")
        assert is_tracked == is_expected, key


def test_every_plot_is_drawn_from_an_output() -> None:
    outputs = set(all_outputs())
    for plot in DVC_YAML["plots"]:
        sources = [plot] if isinstance(plot, str) else next(iter(plot.values()))["y"]
        assert set(sources) <= outputs
