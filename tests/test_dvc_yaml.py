"""``dvc.yaml`` says the truth: a stage's deps are the modules it imports, all and only those."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_steps.params import Params, flatten, read_params

REPOSITORY = Path(__file__).parents[1]
DVC_YAML: dict[str, Any] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
STAGES: dict[str, Any] = DVC_YAML["stages"]
OUR_PACKAGES = ("pipeline_steps", "colorizer")


@cache
def imported_by(path: Path) -> frozenset[Path]:
    """Our own files that a file imports, at its top or inside functions, itself included."""
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
    """All nodes, but for what only a type checker sees."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from walk_what_runs(child)


def files_of(module: str) -> set[Path]:
    """The file of a module of ours and the ``__init__`` files above it; else nothing."""
    parts = module.split(".")
    if parts[0] not in OUR_PACKAGES:
        return set()
    file = REPOSITORY.joinpath(*parts).with_suffix(".py")
    package = REPOSITORY.joinpath(*parts, "__init__.py")
    if not file.exists() and not package.exists():
        return set()  # a name inside a module
    above = {REPOSITORY.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))}
    return above | ({file} if file.exists() else {package})


def closure(paths: set[Path]) -> set[str]:
    """All of our files that these files import, directly or not, as dvc.yaml names them."""
    known: set[Path] = set()
    while paths - known:
        path = next(iter(paths - known))
        known.add(path)
        paths = paths | imported_by(path)
    return {path.relative_to(REPOSITORY).as_posix() for path in known if path.stat().st_size}


def modules_run_by(stage: str) -> set[Path]:
    commands = STAGES[stage]["cmd"]
    commands = [commands] if isinstance(commands, str) else commands
    # the door itself, pipeline_steps/__main__.py, shapes no output
    names = [command.removeprefix("python -m pipeline_steps ") for command in commands]
    return {REPOSITORY / "pipeline_steps" / f"{name}.py" for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_imports(stage: str) -> None:
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    needed = closure(modules_run_by(stage))
    assert declared == needed, (
        f"{stage}: add {sorted(needed - declared)}, remove {sorted(declared - needed)}"
    )


@pytest.mark.parametrize(
    ("file", "retrains"),
    [
        ("pipeline_steps/grids.py", False),
        ("pipeline_steps/evaluate.py", False),
        ("pipeline_steps/model_card.py", False),
        ("colorizer/runtime.py", False),
        ("colorizer/pictures.py", False),
        ("pipeline_steps/gan/losses.py", True),
        ("pipeline_steps/gan/augment.py", True),
        ("colorizer/pixels.py", True),
    ],
)
def test_only_what_shapes_the_weights_retrains(file: str, retrains: bool) -> None:
    assert (REPOSITORY / file).exists()
    assert (file in STAGES["train"]["deps"]) == retrains


def test_no_stage_imports_another() -> None:
    stages = {f"pipeline_steps/{stage}.py" for stage in STAGES}
    for stage in STAGES:
        others = stages - {f"pipeline_steps/{stage}.py"}
        assert not closure(modules_run_by(stage)) & others


def test_the_gan_knows_no_orchestrator() -> None:
    for path in (REPOSITORY / "pipeline_steps" / "gan").glob("*.py"):
        for file in closure({path}):
            source = (REPOSITORY / file).read_text()
            for tool in ("mlflow", "dvc", "prefect"):
                assert f"import {tool}" not in source
                assert f"from {tool}" not in source


def test_imports_go_one_way() -> None:
    for path in (REPOSITORY / "colorizer").glob("*.py"):
        assert "pipeline_steps" not in path.read_text()
    for path in (REPOSITORY / "pipeline_steps").rglob("*.py"):
        assert "from flows" not in path.read_text()
        assert "prefect" not in path.read_text()


def test_every_output_is_somebodys_and_only_one_stages() -> None:
    outputs = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for out in stage.get("outs", []) + stage.get("metrics", [])
    ]
    assert len(outputs) == len(set(outputs))
    files = {
        dep
        for stage in STAGES.values()
        for dep in stage["deps"]
        if not dep.endswith(".py") and dep not in outputs
    }
    for file in files:
        assert any(Path(out).is_relative_to(file) for out in outputs), file


def test_each_param_belongs_to_a_stage() -> None:
    params = read_params(REPOSITORY / "params.yaml")
    assert isinstance(params, Params)
    tracked = {key for stage in STAGES.values() for key in stage["params"]}
    tracked.add("promotion")  # read by flows: a change of the rule must not retrain
    for key in flatten(params):
        assert key in tracked or key.split(".")[0] in tracked, key


def test_every_plot_is_drawn_from_an_output() -> None:
    outputs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for out in stage.get("outs", []) + stage.get("metrics", [])
    }
    for plot in DVC_YAML["plots"]:
        sources = [plot] if isinstance(plot, str) else next(iter(plot.values()))["y"]
        assert set(sources) <= outputs
