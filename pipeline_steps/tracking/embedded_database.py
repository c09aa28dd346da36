"""MLflow's embedded SQLite database, created whole or not at all.

MLflow creates its tables by about fifty migrations, each committed on its own. Interrupted by a
kill or a full disk, they leave a database that can be neither used nor migrated further, and two
processes at once break each other's migrations. So the database is created under a temporary name,
by one process at a time, and then renamed.
"""

from pathlib import Path

from filelock import FileLock

from colorizer.base.errors import ModelFolderError
from colorizer.base.files import atomic_path
from colorizer.base.moved_database import follow_folder
from pipeline_steps.base.errors import TrackingError

FILE = "mlflow.db"


def sqlite_path(uri: str) -> Path | None:
    """The absolute path in an SQLite URI; None for any other URI."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).resolve()


def lock_path(database: Path) -> Path:
    """The lock file of whoever creates the database or changes its registry."""
    return database.with_name(f"{database.name}.lock")


def ensure_database(database: Path) -> None:
    """Create an empty MLflow database, unless it exists. Waits for another process doing so.

    One whose folder was moved has its addresses updated; raises :class:`TrackingError` if it can't
    be. Raises what MLflow, SQLAlchemy or the disk raise, and then creates no database.
    """
    if database.exists():
        try:
            follow_folder(database)
        except ModelFolderError as error:
            raise TrackingError(str(error)) from None
        return
    import mlflow

    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(database)):
        if database.exists():  # another process created it meanwhile
            return
        with atomic_path(database) as partial:
            mlflow.MlflowClient(f"sqlite:///{partial}")
