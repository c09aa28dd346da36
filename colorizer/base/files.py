"""Files written whole or not at all (temporary name in the same folder, fsync, rename); hashes.

A temporary file is locked while it is being written, and the kernel releases the lock when the
writer dies. So an unlocked one was left by a killed writer, and the next process that writes to the
folder removes it. Windows has no such locks: there, one that is an hour old was left.
"""

import hashlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# by hand: the runtime's dependencies have no lock library (filelock comes with torch and DVC)
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAX_NAME_BYTES = 255
"""Of Linux's and most other file systems."""
ABANDONED_AFTER_S = 3600
"""Where files can't be locked: a temporary file this old has no writer anymore."""
_MARK = ".part"
_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}\.part(\..+)?")
_cleaned: set[Path] = set()
"""Folders from which this process has removed what killed writers left."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``target``; on success it is synced and renamed to ``target``.

    On any exception the temporary file is removed and ``target`` is left as it was. Missing parents
    are created. The temporary name keeps the suffix, by which some writers choose their format.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent.resolve()
    if folder not in _cleaned:
        remove_abandoned(folder)
        _cleaned.add(folder)
    handle, partial = _create_locked(target)
    if fcntl is None:  # Windows renames no open file
        os.close(handle)
    try:
        yield partial
        move_into_place(partial, target)
    finally:
        partial.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(handle)


def _create_locked(target: Path) -> tuple[int, Path]:
    """Create the temporary file; return its open handle and its path."""
    while True:
        partial = target.with_name(_partial_name(target.stem, target.suffix))
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle, partial
        os.close(handle)  # another process removed it as abandoned before it was locked


def _partial_name(stem: str, suffix: str) -> str:
    """A hidden name that is no longer than file systems allow, although the target's may be so."""
    end = f".{secrets.token_hex(4)}{_MARK}{suffix}"
    num_bytes = max(1, MAX_NAME_BYTES - 1 - len(os.fsencode(end)))
    # half a character at the cut is dropped
    return f".{os.fsencode(stem)[:num_bytes].decode(errors='ignore') or '_'}{end}"


def move_into_place(partial: Path, target: Path) -> None:
    """Sync a finished file, then rename it to ``target`` in the same file system."""
    sync(partial)
    partial.replace(target)
    sync(target.parent)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in ``folder`` whose writers were killed."""
    for partial in folder.glob(f".*{_MARK}*"):
        if not _PARTIAL.fullmatch(partial.name) or not partial.is_file():
            continue
        with suppress(FileNotFoundError, PermissionError):  # gone, or another user's
            if fcntl is None:
                if time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S:
                    partial.unlink()
                continue
            handle = os.open(partial, os.O_RDONLY)
            try:
                if _lock(handle):
                    partial.unlink()
            finally:
                os.close(handle)


def _lock(handle: int, *, wait: bool = False) -> bool:
    """Lock a file; False if another holds it and we don't wait, or if the system has no locks."""
    if fcntl is None or sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_text(target: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``target``, whole or not at all."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, so that equal values give equal bytes.

    Raises :class:`ValueError` for NaN or infinity.
    """
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_bytes(target: Path, data: bytes) -> None:
    """Write ``data`` to ``target``, whole or not at all."""
    with atomic_path(target) as partial:
        partial.write_bytes(data)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal. Raises :class:`OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk; on Windows not a folder's."""
    if fcntl is None and path.is_dir():
        return
    # Windows flushes only what is open for writing
    descriptor = os.open(path, os.O_RDWR if fcntl is None else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
