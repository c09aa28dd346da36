"""What a training has to tell MLflow, on disk first: no slow or dead server can hold it up.

    outbox/journal.jsonl    one entry a line, in order; appended and synced
    outbox/files/           files that entries name
    outbox/delivered.json   how many entries a server's run has got

An entry has a key and is journalled once, however often its part of the training is repeated. What
is sent twice, since it isn't known whether it came through, changes nothing: metrics carry the time
at which they were journalled, and MLflow keeps one of two equal rows; files overwrite themselves.
"""

import json
import os
import shutil
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from colorizer.base.files import sync, write_json

Kind = Literal["tags", "params", "metrics", "file", "dataset", "status"]
FOLDER = "outbox"
"""In a training's work folder."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to tell."""

    key: str
    kind: Kind
    content: dict[str, Any]
    """JSON values; what they mean, the courier knows."""


class Outbox:
    """A training's entries, and how many of them were delivered. Threads may share it."""

    def __init__(self, work_folder: Path) -> None:
        self.folder = work_folder / FOLDER
        self.files = self.folder / "files"
        self._journal = self.folder / "journal.jsonl"
        self._mark = self.folder / "delivered.json"
        self._changed = threading.Condition()
        self._entries = self._read()
        self._keys = {entry.key for entry in self._entries}

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, the delivered ones too."""
        with self._changed:
            return tuple(self._entries)

    def add(self, key: str, kind: Kind, content: Mapping[str, Any]) -> None:
        """Journal an entry, unless one of this key is there. Raises :class:`OSError`."""
        entry = Entry(key=key, kind=kind, content=dict(content))
        with self._changed:
            if key in self._keys:
                return
            self.files.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._entries.append(entry)
            self._keys.add(key)
            self._changed.notify_all()

    def add_file(self, key: str, file: Path, artifact_folder: str = "") -> None:
        """Copy a file into the outbox, to be sent to a folder among the run's artifacts."""
        if self.has(key):
            return
        self.files.mkdir(parents=True, exist_ok=True)
        target = self.files / file.name
        if target != file:
            shutil.copyfile(file, target)
        sync(target)
        self.add(key, "file", {"file": file.name, "folder": artifact_folder})

    def has(self, key: str) -> bool:
        """Whether an entry of this key was journalled."""
        with self._changed:
            return key in self._keys

    def count_delivered(self, server: str, run_id: str) -> int:
        """How many entries, from the first on, a run on a server has got."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return 0
        if not isinstance(mark, dict) or (mark.get("server"), mark.get("run")) != (server, run_id):
            return 0
        count = mark.get("entries")
        return min(count, len(self.entries)) if isinstance(count, int) and count > 0 else 0

    def mark_delivered(self, server: str, run_id: str, count: int) -> None:
        """Note that a run on a server has got so many entries."""
        write_json(self._mark, {"server": server, "run": run_id, "entries": count})

    def is_waiting(self) -> bool:
        """Whether there are entries that no server has got."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
            return bool(mark["entries"] < len(self.entries))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return bool(self.entries)

    def wait_for_more_than(self, count: int, timeout_s: float) -> None:
        """Wait until there are more entries than that, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._entries) > count, timeout_s)

    def _read(self) -> list[Entry]:
        """Read the journal; it ends where a line is damaged or was cut off while written."""
        entries: list[Entry] = []
        whole = 0
        data = self._journal.read_bytes() if self._journal.exists() else b""
        for line in data.splitlines(keepends=True):
            entry = _parse(line)
            if entry is None:
                os.truncate(self._journal, whole)
                break
            entries.append(entry)
            whole += len(line)
        if b"\n" in data[whole:]:
            warnings.warn(
                f"{self._journal}: damaged after {len(entries)} entries; the rest is dropped, so"
                " MLflow's curves may have a gap",
                stacklevel=2,
            )
        return entries


def _parse(line: bytes) -> Entry | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    is_whole = isinstance(entry.key, str) and isinstance(entry.content, dict)
    return entry if is_whole and entry.kind in get_args(Kind) else None
