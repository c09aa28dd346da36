"""The report of the fault tests, on which docs/reliability.md is based."""

import os
from pathlib import Path

FULL = os.environ.get("FAULTS") == "full"
"""Set by ``make faults``; without it the tests run in a short form."""


def report(line: str) -> None:
    """Print a line of the report, and append it to the file that ``FAULTS_REPORT`` names."""
    print(line)
    if path := os.environ.get("FAULTS_REPORT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
