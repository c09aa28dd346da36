"""``dvc.lock`` broken off in the middle: DVC refuses to start with it, so it's put away.

DVC writes it in place after every stage. A kill or Ctrl-C in that tenth of a second leaves a part
of it, or nothing. No work is lost with it: DVC's run cache knows what was run, and brings it back.

``python -m pipeline_steps dvc_lock`` does it here; ``make`` and the flows do it by themselves.
"""

import sys
from pathlib import Path

FILE = "dvc.lock"
CONFLICT = "<<<<<<<"


def main() -> None:
    """Put this folder's away, if it's broken."""
    quarantine_truncated_lock(Path(FILE).resolve())


def quarantine_truncated_lock(lock: Path) -> None:
    """Rename a ``dvc.lock`` that DVC would refuse, and say so.

    One that a merge left with conflicts is somebody's to resolve, and one that DVC is writing at
    this moment will be whole: both stay.
    """
    if not _is_broken(lock):
        return
    from dvc.lock import LockError, make_lock

    temporary = lock.parent / ".dvc" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        with make_lock(str(temporary / "lock")):
            if not _is_broken(lock):
                return
            away = lock.with_name(f"{lock.name}.broken")
            lock.replace(away)
    except LockError:
        return
    print(
        f"{lock.name} was broken off while DVC wrote it; it's {away.name} now, and what was run is"
        " taken from DVC's cache",
        file=sys.stderr,
    )


def _is_broken(lock: Path) -> bool:
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
