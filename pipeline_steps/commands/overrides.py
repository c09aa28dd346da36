"""``python -m pipeline_steps overrides FILE [key=value …]``: options for ``dvc exp run``.

Prints the params in FILE as ``--set-param`` options, so that a tuned set of them is one file and
one command. Each is checked against params.yaml first, so that nothing starts with a wrong one.
"""

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline_steps.base.errors import ParamError
from pipeline_steps.params import PARAMS_FILE, check_params, flatten, load_yaml, parse_yaml


def main() -> None:
    """Print the options on one line each."""
    if len(sys.argv) < 2:
        raise ParamError("say which file: python -m pipeline_steps overrides params/kaggle.yaml")
    overrides = read_overrides(Path(sys.argv[1]), sys.argv[2:])
    for key, value in overrides.items():
        print(f"--set-param={key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}")


def read_overrides(path: Path, assignments: list[str]) -> dict[str, Any]:
    """Dotted keys and values of a params file and ``key=value`` words, the latter winning.

    Raises :class:`ParamError` if a key is unknown or a value is refused.
    """
    overrides = flatten(load_yaml(path))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ParamError(f"{assignment}: must be key=value")
        overrides[key] = parse_value(key, value)
    apply_overrides(load_yaml(PARAMS_FILE), overrides)
    return overrides


def parse_value(key: str, text: str) -> Any:
    """The value of a ``key=value`` word. Raises :class:`ParamError` if it is no YAML."""
    try:
        return parse_yaml(text)
    except (ValueError, RecursionError):
        raise ParamError(f"{key}: not a YAML value, got {text[:80]!r}") from None


def apply_overrides(tree: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of params with dotted keys set: ``{"train.epochs": 30}``. The tree is left alone.

    Raises :class:`ParamError` if a key is unknown or a value is refused.
    """
    tree = copy.deepcopy(tree)
    for key, value in overrides.items():
        *sections, name = str(key).split(".")
        branch: Any = tree
        for section in sections:
            branch = branch.get(section) if isinstance(branch, dict) else None
        if not sections or not isinstance(branch, dict):
            raise ParamError(f"{key}: unknown key; sections are {', '.join(tree)}")
        branch[name] = value
    check_params(tree)
    return tree
