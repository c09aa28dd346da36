"""Processor cores: how many this process may use, by its affinity and its container's CPU quota.

A quota (``docker run --cpus 2``) is a limit of its control group, which neither the affinity nor
:func:`os.cpu_count` knows. Sources: cgroups(7), proc(5), the kernel's ``cgroup-v2.rst`` and
``sched-bwc.rst``.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
_OCTAL = re.compile(r"\\([0-7]{3})")


def count_cores(root: Path = ROOT) -> int:
    """Count the cores that this process may use, at least 1; a part of one counts as one.

    The least of the affinity and the quotas of its control group and all above it; where a system
    has neither, all cores. ``root``: where ``/proc`` and the mounts that it names are looked up.
    """
    available = _available()
    quota = min(_quotas(root), default=float(available))
    return max(1, min(available, math.ceil(quota)))


def limit_thread_pools(root: Path = ROOT) -> None:
    """Have libraries start no more threads than :func:`count_cores`, here and in child processes.

    By themselves OpenMP (torch), OpenBLAS (numpy) and torch's compiler go by the affinity. They
    read these settings when they are imported, so call this before. What the user set stays.
    """
    cores = count_cores(root)
    if cores < _available():
        for name in ("OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
            os.environ.setdefault(name, str(cores))


def _available() -> int:
    """Cores without regard to quotas; macOS and Windows don't say what a process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Each limit on this process, in cores; none where the system has no control groups."""
    with suppress(OSError, ValueError, IndexError):
        groups = _read_groups(root)
        for mount in _read_mounts(root):
            group = groups.get("cpu" if mount.version == 1 else "")
            if group is None:
                continue
            # a container's mount may show a part of the tree, or its group may lie outside of it
            is_inside = group.is_relative_to(mount.shown) and ".." not in group.parts
            below = group.relative_to(mount.shown) if is_inside else PurePosixPath()
            top = root / str(mount.point).lstrip("/")
            for up in (below, *below.parents):
                with suppress(OSError, ValueError, IndexError):
                    quota_us, period_us = _read_quota(top / up, mount.version)
                    if quota_us > 0 and period_us > 0:
                        yield quota_us / period_us


class _Mount(NamedTuple):
    """A cgroup file system that can limit processor time."""

    version: int
    """1 or 2."""
    shown: PurePosixPath
    """The group that is seen at the mount point."""
    point: PurePosixPath


def _read_groups(root: Path) -> dict[str, PurePosixPath]:
    """Controller → this process's group; that of version 2 has the key ``""``."""
    groups: dict[str, PurePosixPath] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), PurePosixPath(path))
    return groups


def _read_mounts(root: Path) -> Iterator[_Mount]:
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            shown, point = (_unescape(path) for path in mount.split(" ")[3:5])
            version = 2 if kind == "cgroup2" else 1
            yield _Mount(version, PurePosixPath(shown), PurePosixPath(point))


def _read_quota(folder: Path, version: int) -> tuple[int, int]:
    """A group's quota and period in µs. Raises :class:`ValueError` for version 2's ``max``."""
    if version == 2:
        quota, period = _read(folder / "cpu.max").split()
    else:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return int(quota), int(period)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _unescape(path: str) -> str:
    """mountinfo writes a space as ``\\040``."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path)
