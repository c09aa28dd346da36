"""What became of every member of the raw archive: one row each, and its counts."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from colorizer.base.files import atomic_path
from pipeline_steps.prepare.pairing import Split, Verdict

SPLITS: tuple[Split, ...] = ("train", "val", "test")
VERDICTS: tuple[Verdict, ...] = ("accepted", "rejected", "ignored")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """A pair, or a member that makes none. Columns of ``manifest.csv``, in order."""

    id: str
    """Empty for a member that makes no pair."""
    member: str
    """The side-by-side picture, or the colour picture, or what makes no pair."""
    sketch_member: str
    """Empty unless the sketch lies in a file of its own."""
    sha256: str
    """Of the member's bytes; empty where they were not read."""
    sketch_sha256: str
    split: Split | None
    """Also of a rejected pair: where it would have gone."""
    row: int | None
    """In the split's packed file; None unless accepted."""
    width: int | None
    """Of one half, in pixels, as the archive has it."""
    height: int | None
    verdict: Verdict
    reason: str
    """``kind`` or ``kind: detail``; empty if accepted."""

    @property
    def reason_kind(self) -> str:
        """The reason without its detail."""
        return self.reason.split(":", 1)[0]


COLUMNS = tuple(field.name for field in fields(ManifestRow))


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write ``manifest.csv``, sorted by member, whole or not at all."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        # one at a time: a table of a hundred thousand would be the stage's peak of memory
        writer.writerows(map(attrgetter(*COLUMNS), sorted(rows, key=attrgetter("member"))))


def count_pairs(rows: Sequence[ManifestRow]) -> dict[Split, int]:
    """Count accepted pairs by split."""
    counts = Counter(row.split for row in rows if row.verdict == "accepted")
    return {split: counts[split] for split in SPLITS}


def count_verdicts(rows: Sequence[ManifestRow]) -> dict[Verdict, int]:
    """Count rows by verdict."""
    counts = Counter(row.verdict for row in rows)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def count_reasons(rows: Sequence[ManifestRow], verdict: Verdict) -> dict[str, int]:
    """Count rows of a verdict by kind of reason, the most frequent first."""
    counts = Counter(row.reason_kind for row in rows if row.verdict == verdict)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
