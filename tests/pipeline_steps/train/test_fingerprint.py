"""The fingerprint changes with the code, data and params that decide the weights, only."""

import ast
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_steps.params import Params, TrainParams
from pipeline_steps.train import fingerprint
from pipeline_steps.train.fingerprint import (
    NOT_DECIDING,
    find_module,
    hash_code,
    training_fingerprint,
)

REPOSITORY = Path(__file__).parents[3]
BEFORE = hash_code()
MODULES = sorted(BEFORE)
DATA = {"train": "a" * 64, "val": "b" * 64}
Edit = Callable[[str, Callable[[str], str]], None]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages' source, without git."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("colorizer", "pipeline_steps"):
        no_code = shutil.ignore_patterns("__pycache__", "static")
        shutil.copytree(REPOSITORY / package, folder / package, ignore=no_code)
    return folder


@pytest.fixture
def edit(copy: Path) -> Iterator[Edit]:
    """Edit modules of the copy; restored at the end of the test."""
    originals: dict[Path, str] = {}

    def edit(module: str, change: Callable[[str], str]) -> None:
        path = find_module(module, copy)
        assert path is not None
        originals.setdefault(path, path.read_text())
        path.write_text(change(path.read_text()))

    yield edit
    for path, original in originals.items():
        path.write_text(original)


def test_the_closure_contains_the_modules_that_decide_the_weights() -> None:
    deciding = {"colorizer.base.pixels", "pipeline_steps.networks.convolution"}
    deciding |= {"pipeline_steps.train.losses", "pipeline_steps.scores.metrics"}
    deciding |= {"pipeline_steps.pairs.packed", "pipeline_steps.train.trainer"}
    assert deciding <= set(MODULES)


def test_the_closure_leaves_out_other_stages_and_the_tracking() -> None:
    # the params' values are hashed, not the code that checks them
    assert "pipeline_steps.params" not in MODULES
    packages = {module.split(".")[1] for module in MODULES if "." in module}
    assert packages == {"base", "hints", "networks", "pairs", "scores", "train"}


@pytest.mark.parametrize("offset", [0, 1])
def test_a_new_statement_changes_the_hash_of_its_module_alone(
    copy: Path, edit: Edit, offset: int
) -> None:
    changed = MODULES[offset::2]
    for module in changed:
        edit(module, lambda source: f"{source}\nADDED = 1\n")
    after = hash_code(copy)
    assert sorted(after) == MODULES
    assert [name for name in MODULES if after[name] != BEFORE[name]] == changed


def test_a_changed_constant_changes_the_fingerprint(copy: Path, edit: Edit) -> None:
    def change(source: str) -> str:
        assert "127.5" in source
        return source.replace("127.5", "128.0")

    edit("colorizer.base.pixels", change)
    assert hash_code(copy) != BEFORE


def is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_docstrings_comments_and_formatting_do_not_change_the_fingerprint(
    copy: Path, edit: Edit
) -> None:
    def rewrite(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and is_string(node.value):
                node.value = ast.Constant("Another docstring.")
        without_comments_and_line_breaks = ast.unparse(tree)
        assert without_comments_and_line_breaks != source
        return f"# a comment\n{without_comments_and_line_breaks}"

    for module in MODULES:
        edit(module, rewrite)
    assert hash_code(copy) == BEFORE


@pytest.mark.parametrize(
    "statement",
    [
        "import pipeline_steps.drawing.brush",
        "from pipeline_steps.drawing import brush",
        "from pipeline_steps.drawing.brush import SIDE",
        "def draw():\n    from pipeline_steps.drawing.brush import SIDE\n    return SIDE",
    ],
)
def test_a_new_import_extends_the_closure(copy: Path, edit: Edit, statement: str) -> None:
    edit("pipeline_steps.train.losses", lambda source: f"{source}\n{statement}\n")
    added = set(hash_code(copy)) - set(MODULES)
    assert {"pipeline_steps.drawing", "pipeline_steps.drawing.brush"} <= added


def test_imports_for_type_checking_do_not_extend_the_closure(copy: Path, edit: Edit) -> None:
    block = "if TYPE_CHECKING:\n    from pipeline_steps.drawing.brush import SIDE"
    edit("pipeline_steps.train.losses", lambda source: f"{source}\n{block}\n")
    assert hash_code(copy) == BEFORE


def test_a_relative_import_is_refused(copy: Path, edit: Edit) -> None:
    edit("pipeline_steps.train.losses", lambda source: f"{source}\nfrom . import batches\n")
    with pytest.raises(ValueError, match="relative import"):
        hash_code(copy)


def with_value(params: TrainParams, name: str, value: object) -> TrainParams:
    """The params with one value changed, without validation."""
    values = dataclasses.asdict(params) | {name: value}
    unchecked: TrainParams = dataclasses.make_dataclass("Unchecked", values)(**values)
    return unchecked


@pytest.fixture
def _code_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "hash_code", lambda _: BEFORE)


@pytest.mark.usefixtures("_code_is_hashed_once")
def test_data_and_deciding_params_change_the_fingerprint(params: Params) -> None:
    deciding = {field.name for field in dataclasses.fields(params.train)} - set(NOT_DECIDING)
    fingerprints = {
        training_fingerprint(params.train, DATA),
        training_fingerprint(params.train, DATA | {"val": "c" * 64}),
        *(training_fingerprint(with_value(params.train, name, "new"), DATA) for name in deciding),
    }
    assert len(fingerprints) == 2 + len(deciding)


@pytest.mark.usefixtures("_code_is_hashed_once")
@pytest.mark.parametrize("name", NOT_DECIDING)
def test_other_params_do_not_change_the_fingerprint(params: Params, name: str) -> None:
    changed = with_value(params.train, name, "new")
    assert training_fingerprint(changed, DATA) == training_fingerprint(params.train, DATA)


def test_the_pairs_of_a_shard_count_where_they_decide_the_order(params: Params) -> None:
    together = dataclasses.replace(params.train, shuffle_shards=0)
    windows = dataclasses.replace(params.train, shuffle_shards=2)
    for train, count in ((together, 1), (windows, 2)):
        found = {training_fingerprint(train, DATA, shard_pairs=number) for number in (64, 128)}
        assert len(found) == count
