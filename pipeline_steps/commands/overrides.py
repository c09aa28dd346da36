"""``python -m pipeline_steps overrides FILE [key=value …]``: options for ``dvc exp run``.

Prints the params in FILE, and the assignments, as ``--set-param`` options, one per line, after
checking them against params.yaml.
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
    """Print the options."""
    if len(sys.argv) < 2:
        raise ParamError(
            "no file given; usage: python -m pipeline_steps overrides FILE [key=value …]"
        )
    overrides = read_overrides(Path(sys.argv[1]), sys.argv[2:])
    for key, value in overrides.items():
        print(f"--set-param={key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}")


def read_overrides(path: Path, assignments: list[str]) -> dict[str, Any]:
    """Read dotted keys and values from a params file and ``key=value`` words, which override it.

    Raises :class:`ParamError` if a key is unknown or a value is refused.
    """
    tree = load_yaml(path)
    if not isinstance(tree, dict):
        raise ParamError(f"{path}: must be sections of keys, as in {PARAMS_FILE}")
    overrides = flatten(tree)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ParamError(f"{assignment}: must be key=value")
        overrides[key] = parse_value(key, value)
    apply_overrides(load_yaml(PARAMS_FILE), overrides)
    return overrides


def parse_value(key: str, text: str) -> Any:
    """Parse the value of a ``key=value`` word; raises :class:`ParamError` if it isn't YAML."""
    try:
        return parse_yaml(text)
    except (ValueError, RecursionError):
        raise ParamError(f"{key}: not a YAML value, got {text[:80]!r}") from None


def apply_overrides(tree: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a tree of params with dotted keys set: ``{"train.epochs": 30}``.

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
