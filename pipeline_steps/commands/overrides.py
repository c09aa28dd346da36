"""Params to change for one run: read from a file and ``key=value`` words, checked, applied."""

import copy
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_steps.base.errors import ParamError
from pipeline_steps.params import PARAMS_FILE, check_params, flatten, load_yaml, parse_yaml


def read_overrides(path: Path, assignments: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values of a params file, and of assignments, which override it.

    Raises :class:`ParamError` if a key is unknown or a value is refused.
    """
    tree = load_yaml(path)
    if not isinstance(tree, dict):
        raise ParamError(f"{path}: must be sections of keys, as in {PARAMS_FILE}")
    overrides = flatten(tree) | dict(assignments)
    apply_overrides(load_yaml(PARAMS_FILE), overrides)
    return overrides


def split_words(text: str) -> list[str]:
    """Split assignments at blanks, as a shell does; raises :class:`ParamError`."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ParamError(f"{text}: can't be split into key=value words ({error})") from None


def parse_assignments(words: list[str]) -> dict[str, Any]:
    """Dotted key → value of ``key=value`` words; raises :class:`ParamError` for another word."""
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ParamError(f"{word}: must be key=value")
        values[key] = parse_value(key, value)
    return values


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
