"""MLflow's embedded SQLite database: made whole or not at all.

MLflow makes its tables by some fifty migrations that are committed one by one. Broken off in the
middle, by a kill or a full disk, they can be neither used nor gone on with; and two processes at
once trip over each other. So they are made beside the database's place, which is then taken.

``python -m pipeline_steps embedded_database`` makes the one at hand for programs of MLflow's own.
"""

import fcntl
from pathlib import Path

from colorizer.base.files import atomic_path

FILE = "mlflow.db"


def main() -> None:
    """Make the database of this folder, unless there is one."""
    ensure_database(Path(FILE).resolve())


def sqlite_path(uri: str) -> Path | None:
    """The database file of an SQLite URI, absolute; None for any other URI."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).resolve()


def lock_path(database: Path) -> Path:
    """The file whose lock holds who makes the database, or changes its registry."""
    return database.with_name(f"{database.name}.lock")


def ensure_database(database: Path) -> None:
    """Make an empty MLflow database, unless there is one.

    Raises what MLflow, SQLAlchemy and the disk raise; nothing is left then.
    """
    if database.exists():
        return
    import mlflow

    database.parent.mkdir(parents=True, exist_ok=True)
    with lock_path(database).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if database.exists():  # another process made it meanwhile
            return
        with atomic_path(database) as partial:
            mlflow.MlflowClient(f"sqlite:///{partial}")
