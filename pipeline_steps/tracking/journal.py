"""A run's log on disk, written first: no slow or dead MLflow server can delay a training.

    outbox/journal.jsonl    one entry per line, in order; appended and synced
    outbox/files/           files that entries name
    outbox/delivered.json   the server and run that got the entries last, how many of them, and
                            which of these it lacks, with the reason

The journal is the only source of a run: training, evaluating and registering append entries, and
:mod:`pipeline_steps.tracking.delivery` brings a run on a server up to it. An entry has a key and is
appended once, however often its part of the training is repeated. Sending an entry twice changes
nothing: metrics carry the time at which they were journalled, and MLflow keeps one of two equal
rows; files are overwritten.
"""

import json
import os
import re
import shutil
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from colorizer.base.files import atomic_path, file_sha256, sync, write_json
from colorizer.base.redaction import redact

Kind = Literal["tags", "params", "metrics", "file", "dataset", "status"]
Send = Literal["always", "missing", "changed"]
"""Send an entry always; only what the run lacks; or only values that differ from the run's."""
FOLDER = "outbox"
"""In a training's work folder."""
_RUN_ID = re.compile(r"[\w-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to log."""

    key: str
    kind: Kind
    content: dict[str, Any]
    """JSON values; their keys depend on the kind, see :mod:`pipeline_steps.tracking.run_writer`."""
    send: Send = "always"


class Missing(NamedTuple):
    """Why a run lacks an entry that others were sent after."""

    reason: str
    is_final: bool
    """The server rejected it: set aside until :mod:`pipeline_steps.commands.deliver` is run."""


class DeliveryMark(NamedTuple):
    """How many entries, from the first on, a run on a server was sent."""

    server: str
    """Its address, without user name and password."""
    run_id: str
    num_entries: int
    missing: Mapping[str, Missing] = {}
    """Those of them that the run lacks, by key."""


class RunJournal:
    """The journal of a training's run, in the training's work folder. Threads may share it."""

    def __init__(self, work_folder: Path) -> None:
        self.training = work_folder.name
        """The training's fingerprint, which names its work folder."""
        self.folder = work_folder / FOLDER
        self.files = self.folder / "files"
        self._journal = self.folder / "journal.jsonl"
        self._mark = self.folder / "delivered.json"
        self._changed = threading.Condition()
        self._entries, self._damaged_from = self._read()
        self._keys = {entry.key for entry in self._entries}

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, the delivered ones too."""
        with self._changed:
            return tuple(self._entries)

    @property
    def first_tags(self) -> Mapping[str, str]:
        """The tags that a run begins with: those of the first entry of tags; {} without any."""
        return next((entry.content for entry in self.entries if entry.kind == "tags"), {})

    def add(
        self, key: str, kind: Kind, content: Mapping[str, Any], *, send: Send = "always"
    ) -> None:
        """Append an entry, unless there is one of this key. Raises :class:`OSError`.

        Tags and params are redacted.
        """
        values = dict(content)
        if kind in ("tags", "params"):
            values = {name: redact(str(value)) for name, value in values.items()}
        entry = Entry(key=key, kind=kind, content=values, send=send)
        with self._changed:
            if key in self._keys:
                return
            self.files.mkdir(parents=True, exist_ok=True)
            if self._damaged_from is not None:
                os.truncate(self._journal, self._damaged_from)
                self._damaged_from = None
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._entries.append(entry)
            self._keys.add(key)
            self._changed.notify_all()

    def add_file(
        self, key: str, file: Path, artifact_folder: str = "", *, send: Send = "always"
    ) -> None:
        """Copy a file into the journal, to be sent to a folder among the run's artifacts."""
        if not self.has(key):
            self.add(key, "file", self._copy(file, artifact_folder), send=send)

    def add_revision(
        self, name: str, kind: Kind, content: Mapping[str, Any], *, send: Send = "always"
    ) -> None:
        """Append a new revision of something that changes, unless it equals the newest one.

        The time at which it was made (``time_ms``) is not compared.
        """
        revisions = self.revisions(name)
        if not revisions or _without_time(revisions[-1].content) != _without_time(content):
            self.add(f"{name} #{len(revisions) + 1}", kind, content, send=send)

    def add_file_revision(
        self, name: str, file: Path, artifact_folder: str = "", *, send: Send = "always"
    ) -> None:
        """Copy a file that replaces its earlier revision, unless the bytes are equal."""
        content = self._copy(file, artifact_folder) | {"sha256": file_sha256(file)}
        self.add_revision(name, "file", content, send=send)

    def has(self, key: str) -> bool:
        """Whether there is an entry of this key."""
        with self._changed:
            return key in self._keys

    def revisions(self, name: str) -> Sequence[Entry]:
        """The entries that :meth:`add_revision` made under a name, oldest first."""
        return [entry for entry in self.entries if entry.key.startswith(f"{name} #")]

    def read_mark(self) -> DeliveryMark | None:
        """The server and run that the entries were delivered to last; None if there is none."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
            server, run_id, count = mark["server"], mark["run"], mark["entries"]
            missing = {
                str(key): Missing(str(reason), bool(is_final))
                for key, (reason, is_final) in mark.get("missing", {}).items()
            }
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not isinstance(server, str) or not isinstance(count, int) or count < 0:
            return None
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            return None
        missing = {key: each for key, each in missing.items() if self.has(key)}
        return DeliveryMark(server, run_id, min(count, len(self.entries)), missing)

    def count_delivered(self, server: str, run_id: str) -> int:
        """How many entries, from the first on, a run on a server was sent."""
        mark = self.read_mark()
        return mark.num_entries if mark and mark[:2] == (server, run_id) else 0

    def find_missing(self, server: str, run_id: str) -> Mapping[str, Missing]:
        """The entries that a run on a server lacks, of those that it was sent, by key."""
        mark = self.read_mark()
        return mark.missing if mark and mark[:2] == (server, run_id) else {}

    def mark_delivered(
        self, server: str, run_id: str, count: int, missing: Mapping[str, Missing] | None = None
    ) -> None:
        """Record that a run on a server was sent so many entries, and lacks some of them."""
        mark = {"server": server, "run": run_id, "entries": count}
        write_json(self._mark, mark | ({"missing": dict(missing)} if missing else {}))

    def is_waiting(self, *, also_rejected: bool = False) -> bool:
        """Whether there are entries that no server has; of those set aside only if asked to."""
        mark = self.read_mark()
        missing = mark.missing.values() if mark else ()
        return (mark.num_entries if mark else 0) < len(self.entries) or any(
            also_rejected or not each.is_final for each in missing
        )

    def wait_for_more_than(self, count: int, timeout_s: float) -> None:
        """Wait until there are more entries than ``count``, at most ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._entries) > count, timeout_s)

    def _copy(self, file: Path, artifact_folder: str) -> dict[str, Any]:
        """Copy a file to where its entry finds it; return the entry's content."""
        if file.parent == self.files:  # it was written there
            target = file
            sync(target)
        else:
            target = self.files / artifact_folder / file.name
            with atomic_path(target) as partial:
                shutil.copyfile(file, partial)
        return {"file": target.relative_to(self.files).as_posix(), "folder": artifact_folder}

    def _read(self) -> tuple[list[Entry], int | None]:
        """Read the entries up to the first line that is damaged or truncated, and its offset.

        The file stays as it is: a training in another process may be writing that line.
        """
        entries: list[Entry] = []
        whole = 0
        data = self._journal.read_bytes() if self._journal.exists() else b""
        for line in data.splitlines(keepends=True):
            entry = _parse(line)
            if entry is None:
                break
            entries.append(entry)
            whole += len(line)
        if b"\n" in data[whole:]:
            warnings.warn(
                f"{self._journal}: damaged after {len(entries)} entries; the rest is dropped, so"
                " MLflow's curves may have a gap",
                stacklevel=2,
            )
        return entries, whole if whole < len(data) else None


def _without_time(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "time_ms"}


def _parse(line: bytes) -> Entry | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    is_valid = isinstance(entry.key, str) and isinstance(entry.content, dict)
    is_known = entry.kind in get_args(Kind) and entry.send in get_args(Send)
    return entry if is_valid and is_known else None
