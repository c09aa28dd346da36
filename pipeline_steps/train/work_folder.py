"""The work folder of a training: one training at a time, dropped when it's no longer needed.

``.work/train/<fingerprint>/`` holds checkpoints, samples, the MLflow journal, ``finished`` once the
stage's outputs are written, and ``lock``, which is held while a process trains there.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from colorizer.base.files import remove_abandoned, write_text
from pipeline_steps.base.errors import TrainingError
from pipeline_steps.tracking.journal import RunJournal

FINISHED = "finished"
LOCK = "lock"
LOCK_TIMEOUT_S = 15.0
"""A training that was interrupted exits within 10 s."""
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_DAY_S = 86_400.0


@contextmanager
def open_work_folder(
    work: Path, fingerprint: str, *, keep_unfinished: int, keep_unfinished_days: float
) -> Iterator[Path]:
    """Lock and yield a training's folder in ``work``; say whether it resumes, drop old others.

    Raises :class:`TrainingError` if another process trains in it.
    """
    folder = work / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S).acquire()
    except Timeout:
        raise TrainingError(
            f"{folder}: another process trains in it; wait until it has finished, or stop it and"
            " run the same command again"
        ) from None
    with held:
        drop_others(folder, number=keep_unfinished, days=keep_unfinished_days)
        remove_abandoned(folder)
        if (folder / FINISHED).exists():
            print(f"train: finished before; restored from {folder} (delete it to train anew)")
        elif any(folder.glob("checkpoint-*")):
            print(f"train: resumes from the newest checkpoint in {folder}")
        yield folder


def mark_finished(folder: Path) -> None:
    """Note that all outputs of the training are written."""
    write_text(folder / FINISHED, "")


def drop_others(current: Path, *, number: int, days: float) -> None:
    """Remove finished trainings' folders, and unfinished ones by age and number.

    The ``number`` most recently changed unfinished ones are kept for ``days``. A folder is never
    removed while a process trains in it or entries wait for MLflow.
    """
    others = [
        folder
        for folder in current.parent.iterdir()
        if folder != current and folder.is_dir() and _FINGERPRINT.fullmatch(folder.name)
    ]
    unfinished = [folder for folder in others if not (folder / FINISHED).exists()]
    unfinished.sort(key=_changed_s, reverse=True)
    oldest_s = time.time() - days * _DAY_S
    kept = [folder for folder in unfinished[:number] if _changed_s(folder) >= oldest_s]
    for folder in set(others) - set(kept):
        _remove_unless_in_use(folder)


def _changed_s(folder: Path) -> float:
    """When a file was last added, in seconds since 1970: every checkpoint is one."""
    return folder.stat().st_mtime


def _remove_unless_in_use(folder: Path) -> None:
    """Remove a folder, unless a process holds its lock or entries wait for MLflow.

    Of one whose entries MLflow rejected, the journal is kept: `deliver` may send them later.
    """
    with suppress(Timeout), FileLock(folder / LOCK, blocking=False):
        journal = RunJournal(folder)
        if journal.is_waiting():
            return
        if not journal.is_waiting(also_rejected=True):
            shutil.rmtree(folder)
            return
        for path in folder.iterdir():
            if path.is_dir() and path != journal.folder:
                shutil.rmtree(path)
            elif path.is_file() and path.name != LOCK:
                path.unlink()
