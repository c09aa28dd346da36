"""What was done to the pipeline and what it lost, as lines that docs/reliability.md quotes."""

import os
from pathlib import Path

FULL = os.environ.get("FAULTS") == "full"
"""``make faults``; else a short form."""


def tell(line: str) -> None:
    """Print a line of the fault table; ``FAULTS_REPORT`` names a file that keeps it as well."""
    print(line)
    if path := os.environ.get("FAULTS_REPORT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
