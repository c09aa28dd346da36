"""Files written whole or not at all (temporary name in the same folder, fsync, rename); hashes.

A temporary file is locked while it's being written, and the kernel unlocks it when its writer is
killed: so what killed writers left is known, and removed by the next.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ModuleNotFoundError:  # Windows: what a killed writer left stays
    fcntl = None  # type: ignore[assignment]

_MARK = ".part"
_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}\.part(\..+)?")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it is synced and renamed to it.

    On any exception the temporary file is removed and ``target`` is left as it was. Parents are
    made. The temporary name keeps the suffix, since some writers choose their format by it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}.", suffix=f"{_MARK}{target.suffix}", dir=target.parent
    )
    partial = Path(name)
    try:
        _try_lock(handle)
        yield partial
        sync(partial)
        partial.chmod(0o666 & ~_umask())
        partial.replace(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in ``folder`` whose writers were killed."""
    for partial in folder.glob(f".*{_MARK}*"):
        if not _PARTIAL.fullmatch(partial.name) or not partial.is_file():
            continue
        with suppress(FileNotFoundError):
            handle = os.open(partial, os.O_RDONLY)
            try:
                if _try_lock(handle):
                    partial.unlink()
            finally:
                os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock a file; False if another has it, or where the file system knows no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_text(target: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``target``, whole or not at all."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys: equal values give equal bytes."""
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
    """Flush a file or a folder entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
