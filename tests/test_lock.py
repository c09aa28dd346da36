"""requirements.lock: an exact version of every package, and no index address."""

import re
import tomllib
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
LINE = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[^\s;]+( ; .+)?")


def test_every_line_pins_one_exact_version() -> None:
    lines = LOCK.read_text().splitlines()
    assert len(lines) > 100
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"https?:|file:|--|@", LOCK.read_text())


def test_the_lock_contains_every_direct_dependency() -> None:
    project = tomllib.loads(LOCK.with_name("pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["pipeline"]]
    locked = {re.split(r"[\[=]", line)[0] for line in LOCK.read_text().splitlines()}
    assert {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted} <= locked
