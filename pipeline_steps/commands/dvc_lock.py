"""``python -m pipeline_steps dvc_lock``: quarantine a truncated ``dvc.lock``.

DVC writes it in place after every stage and refuses to start if it is invalid. A kill or Ctrl-C
while it is written (about 0.1 s) leaves it truncated or empty. No work is lost: finished stages are
restored from DVC's run cache. ``make`` and the flows do this before they run DVC.
"""

import sys
from pathlib import Path

FILE = "dvc.lock"
CONFLICT = "<<<<<<<"


def main() -> None:
    """Quarantine this folder's ``dvc.lock``, if it is truncated."""
    quarantine_truncated_lock(Path(FILE).resolve())


def quarantine_truncated_lock(lock: Path) -> None:
    """Rename a ``dvc.lock`` that DVC would refuse to ``dvc.lock.broken``, with a line on stderr.

    One with merge conflicts is kept for the user to resolve, and one that DVC is writing at this
    moment is left alone.
    """
    if not _is_truncated(lock):
        return
    from dvc.lock import LockError, make_lock

    temporary = lock.parent / ".dvc" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        with make_lock(str(temporary / "lock")):
            if not _is_truncated(lock):
                return
            broken = lock.with_name(f"{lock.name}.broken")
            lock.replace(broken)
    except LockError:
        return
    print(
        f"{lock.name} was truncated while DVC wrote it: renamed to {broken.name}; finished stages"
        " are restored from DVC's cache",
        file=sys.stderr,
    )


def _is_truncated(lock: Path) -> bool:
    try:
        text = lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        return True
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import parse_yaml
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, str(lock)))
    except (DvcException, Invalid):
        return CONFLICT not in text
    return False
