"""Is there room on the disk? Asked before work whose size is known, recognized in what fails."""

import shutil
from pathlib import Path

from pipeline_steps.base.errors import DiskSpaceError

SPARE_BYTES = 64 * 1024 * 1024
"""Left for the rest of the machine."""


def require_disk_space(folder: Path, num_bytes: int, what: str) -> None:
    """Raise :class:`DiskSpaceError` unless ``folder``'s disk has ``num_bytes`` free and to spare.

    ``folder`` need not exist yet.
    """
    if num_bytes < 0:
        raise ValueError(f"num_bytes must be ≥ 0, got {num_bytes}")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if num_bytes + SPARE_BYTES > free_bytes:
        raise DiskSpaceError(
            f"{what} needs {_megabytes(num_bytes + SPARE_BYTES)} in {folder}, where"
            f" {_megabytes(free_bytes)} are free: make room and run the same command again"
        )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.0f} MB"
