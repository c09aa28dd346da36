"""Identifies a training by what decides its weights: params, data and code.

The code is every module of this repository that the trainer imports, directly or not, also inside
functions. Each is hashed as a syntax tree without docstrings, comments and what only a type checker
reads, so that their edits, and formatting, keep the checkpoints. Some of these modules can't change
a weight (the texts of errors, say): they are hashed on purpose, since a needless training costs
hours and a stale generator costs trust.

Python's version is left out on purpose: it decides no weight. Should two versions parse a file to
different trees, the training starts anew.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_steps.params import TrainParams

START = "pipeline_steps.train.trainer"
PACKAGES = ("colorizer", "pipeline_steps")
REPOSITORY = Path(__file__).parents[2]
NOT_DECIDING = (
    "checkpoint_interval_s",
    "collapse_epochs",
    "engine",
    "keep_unfinished",
    "keep_unfinished_days",
)
"""Params of the section ``train`` that decide no weight and no picture."""


def training_fingerprint(
    params: "TrainParams",
    data: dict[str, str],
    *,
    st_lpips: bool = False,
    shard_pairs: int = 0,
    repository: Path = REPOSITORY,
) -> str:
    """16 hexadecimal digits; ``data`` is the sha256 of each split.

    ``shard_pairs`` counts if it decides the order of pairs.
    """
    values = {name: value for name, value in asdict(params).items() if name not in NOT_DECIDING}
    facts = {
        "params": values,
        "st_lpips": st_lpips,
        "data": data,
        "shard_pairs": shard_pairs if params.shuffle_shards else 0,
        "code": hash_code(repository),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def hash_code(repository: Path = REPOSITORY, start: str = START) -> dict[str, str]:
    """Module → sha256 of its syntax tree, for ``start`` and all that it imports of our packages."""
    hashes: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = find_module(module, repository)
        if path is None or module in hashes:
            continue  # a name inside a module, another's package, or done
        tree = _WhatRuns().visit(ast.parse(path.read_bytes(), str(path)))
        hashes[module] = hashlib.sha256(normal_form(tree).encode()).hexdigest()
        waiting += imported_modules(tree)
        waiting += [module.rpartition(".")[0]]  # its package is imported with it
    return hashes


def find_module(module: str, repository: Path) -> Path | None:
    """The file of a module of our packages; None if there is none."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return None
    path = repository.joinpath(*parts)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every name that a module imports; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(
                    f"line {node.lineno}: relative import; write the module's full name"
                )
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def normal_form(node: Any) -> str:
    """A syntax tree as text without line numbers: equal for equal code in Python 3.11 to 3.13.

    Unlike ``ast.dump`` it leaves out empty fields, which each version of Python adds to.
    """
    if isinstance(node, list):
        return f"[{','.join(map(normal_form, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={normal_form(value)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return f"{type(node).__name__}({','.join(fields)})"


class _WhatRuns(ast.NodeTransformer):
    """Drops what has no effect: strings as statements (docstrings) and ``if TYPE_CHECKING:``."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_string = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_string else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return node.orelse if is_for_types else node
