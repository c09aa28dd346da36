"""The JSON and CSV files that stages exchange."""

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorizer.base.files import write_text
from pipeline_steps.base.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of an earlier stage.

    Raises :class:`DataError` if it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: unreadable ({error}); `dvc repro` makes it") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object; `dvc repro` makes it")
    return value


def read_table(path: Path, columns: Collection[str]) -> "pd.DataFrame":
    """Read a table of an earlier stage; ``id`` stays text.

    Raises :class:`DataError` if it is missing, damaged or lacks one of ``columns``.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"id": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: unreadable ({error}); `dvc repro` makes it") from None
    missing = sorted(set(columns) - set(table.columns))
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}; `dvc repro` makes it")
    return table


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, one at least, whose keys are the columns; whole or not at all."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())
