"""An MLflow database on SQLite whose folder was renamed, moved or copied: its addresses follow.

MLflow stores the addresses of runs' and models' files as absolute paths, and would resolve relative
ones against whatever folder a command is started in. So once the folder has another path they are
rewritten here, in one transaction. What lies elsewhere on purpose keeps its address.
"""

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from colorizer.base.errors import ModelFolderError

ARTIFACTS = "mlruns"
"""The folder of artifacts, next to the database."""
LOCK_TIMEOUT_S = 60.0
_EXPERIMENTS = ("experiments", "artifact_location")
_FILES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


class _Address(NamedTuple):
    row: int
    text: str
    home: Path
    """The folder that ``mlruns`` is in."""
    below: Path
    """Relative to ``mlruns``."""


def follow_folder(database: Path) -> None:
    """Rewrite addresses below the folder in which the database was before; print a line if so.

    A file that is only at its old address keeps it. What isn't MLflow's is left alone. Raises
    :class:`ModelFolderError` if the database can't be written to.
    """
    home = database.parent.resolve()
    uri = f"{database.resolve().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S)) as connection:
            if not _former_homes(connection, home):
                return
    except sqlite3.DatabaseError:
        return  # MLflow says what is wrong with it
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S)) as connection:
            connection.isolation_level = None
            connection.execute("begin immediate")
            homes = _former_homes(connection, home)
            num_rewritten = sum(_rewrite(connection, *column, homes, home) for column in _FILES)
            _rewrite(connection, *_EXPERIMENTS, homes, home)
            connection.execute("commit")
    except sqlite3.Error as error:
        raise ModelFolderError(
            f"{database}: was moved here, and the addresses of its files can't be updated"
            f" ({error}); make it writable"
        ) from None
    if homes:
        former = ", ".join(str(folder) for folder in sorted(homes))
        print(
            f"{database}: was in {former}; {num_rewritten} addresses of files now name {home}",
            file=sys.stderr,
        )


def _former_homes(connection: sqlite3.Connection, home: Path) -> set[Path]:
    """The folders that this database was in: those that its files are no longer in alone."""
    locations = list(_addresses(connection, *_EXPERIMENTS))
    # experiments that MLflow gave a folder below its current one need a file as evidence
    made_here = {address.home for address in locations if address.below == Path()}
    candidates = {address.home for address in locations} - {home}
    found_here: Counter[Path] = Counter()
    found_there: Counter[Path] = Counter()
    for column in _FILES if candidates else ():
        for address in _addresses(connection, *column):
            if address.home in candidates:
                found_here[address.home] += (home / ARTIFACTS / address.below).exists()
                found_there[address.home] += (address.home / ARTIFACTS / address.below).exists()
    return {
        folder
        for folder in candidates
        if found_here[folder] or (folder in made_here and not found_there[folder])
    }


def _addresses(connection: sqlite3.Connection, table: str, column: str) -> Iterator[_Address]:
    """The addresses of local files below a folder ``mlruns``."""
    if column not in {row[1] for row in connection.execute(f"pragma table_info({table})")}:
        return  # an earlier release's schema
    query = f"select rowid, {column} from {table} where {column} like '%/{ARTIFACTS}%'"
    for row, text in connection.execute(query).fetchall():
        path = Path(unquote(urlsplit(text).path) if text.startswith("file:///") else text)
        if not path.is_absolute() or ARTIFACTS not in path.parts:
            continue
        # the last one: the checkout itself may be below a folder of that name
        index = len(path.parts) - 1 - path.parts[::-1].index(ARTIFACTS)
        yield _Address(row, text, Path(*path.parts[:index]), Path(*path.parts[index + 1 :]))


def _rewrite(
    connection: sqlite3.Connection, table: str, column: str, homes: set[Path], home: Path
) -> int:
    """Rewrite a column's addresses below former homes; return how many."""
    num_rewritten = 0
    for row, text, former, below in list(_addresses(connection, table, column)):
        if former not in homes:
            continue
        new = home / ARTIFACTS / below
        if table != "experiments" and not new.exists() and (former / ARTIFACTS / below).exists():
            continue
        address = new.as_uri() if text.startswith("file:///") else str(new)
        connection.execute(f"update {table} set {column} = ? where rowid = ?", (address, row))
        num_rewritten += 1
    return num_rewritten
