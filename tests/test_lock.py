"""requirements.lock: exact versions of everything, from wherever the reader gets packages."""

import re
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
LINE = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[^\s;]+( ; .+)?")


def test_every_line_is_one_exact_version() -> None:
    lines = LOCK.read_text().splitlines()
    assert len(lines) > 100
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_it_names_no_place() -> None:
    assert not re.search(r"https?:|file:|--|@", LOCK.read_text())
