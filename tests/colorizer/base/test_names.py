"""Any file name can be printed on one line and encoded."""

import os
import subprocess

import pytest

from colorizer.base.names import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"a\nb\x1b[31m.png", "a\\nb\\x1b[31m.png"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("l\u2028.png".encode(), "l\\u2028.png"),
        ("絵 é.png".encode(), "絵 é.png"),
    ],
)
def test_a_name_becomes_one_printable_line_that_bash_reads(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown
    shown.encode()
    bash = ["bash", "-c", f"printf %s $'{shown}'"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    assert subprocess.run(bash, capture_output=True, check=True, env=environment).stdout == name
