"""Checks free disk space before work whose size is known."""

import shutil
from pathlib import Path

from pipeline_steps.base.errors import DiskSpaceError

SPARE_BYTES = 64 * 1024 * 1024
"""Left free for the rest of the machine."""


def require_disk_space(folder: Path, num_bytes: int, what: str) -> None:
    """Raise :class:`DiskSpaceError` unless ``num_bytes`` and ``SPARE_BYTES`` are free.

    ``folder`` is on the disk in question and need not exist yet; ``what`` begins the message.
    """
    if num_bytes < 0:
        raise ValueError(f"num_bytes must be ≥ 0, got {num_bytes}")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if num_bytes + SPARE_BYTES > free_bytes:
        raise DiskSpaceError(
            f"{what} needs {_megabytes(num_bytes + SPARE_BYTES)} in {folder}, where"
            f" {_megabytes(free_bytes)} are free: free disk space and run the same command again"
        )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.0f} MB"
