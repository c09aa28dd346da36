"""A large file under a second name, without a second copy of its bytes where that's possible."""

import os
import shutil
from pathlib import Path

from colorizer.base.files import atomic_path, sync
from pipeline_steps.base.disk_space import require_disk_space


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``; a copy where the file systems allow no link.

    An existing ``target`` is replaced. The two names share their permissions: DVC makes an output
    read-only when it links it into its cache. So neither may be written in place, only replaced.
    Raises :class:`~pipeline_steps.base.errors.DiskSpaceError` if a copy is needed and doesn't fit.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        require_disk_space(target.parent, source.stat().st_size, "a copy of the archive")
        with atomic_path(target) as partial:
            shutil.copyfile(source, partial)
    else:
        sync(target.parent)
