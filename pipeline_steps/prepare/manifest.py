"""``manifest.csv``: a row for every member of the raw archive, with its verdict; and counts."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from colorizer.base.files import atomic_path
from pipeline_steps.prepare.agreement import Agreement
from pipeline_steps.prepare.pairing import Leftover, Listing, Split, Verdict
from pipeline_steps.prepare.splits import PlacedPairs
from pipeline_steps.prepare.worker_pool import UnsplitPairs

SPLITS: tuple[Split, ...] = ("train", "val", "test")
MEASURES = ("match", "gain", "stray", "worst_stray", "tone", "toned", "white", "chroma")
VERDICTS: tuple[Verdict, ...] = ("accepted", "rejected", "ignored")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """A pair, or a member that makes none. Columns of ``manifest.csv``, in order."""

    id: str
    """Empty for a member that makes no pair."""
    member: str
    """The side-by-side picture, or the colour picture, or what makes no pair."""
    sketch_member: str
    """Empty unless the sketch is in a file of its own."""
    sha256: str
    """Of the member's bytes; empty if they were not read."""
    sketch_sha256: str
    split: Split | None
    """Of a rejected pair, the one it would have had."""
    row: int | None
    """Index in the split's packed file; None unless accepted."""
    width: int | None
    """Of one half, in pixels, in the archive."""
    height: int | None
    sketch_turned: bool | None
    """Whether the sketch was in light on dark and was turned around; None unless it was read."""
    verdict: Verdict
    reason: str
    """``kind`` or ``kind: detail``; empty if accepted."""
    match: float | None = None
    """This and the following are the pair's ``Agreement``; None unless it was measured."""
    gain: float | None = None
    stray: float | None = None
    worst_stray: float | None = None
    tone: float | None = None
    toned: float | None = None
    white: float | None = None
    chroma: float | None = None

    @property
    def reason_kind(self) -> str:
        """The reason without its detail."""
        return self.reason.split(":", 1)[0]


COLUMNS = tuple(field.name for field in fields(ManifestRow))


def manifest_rows(
    listing: Listing, unsplit: UnsplitPairs, placed: PlacedPairs
) -> list[ManifestRow]:
    """A row for each leftover and for each listed pair, unsorted."""
    indices = {
        number: index for split in SPLITS for index, number in enumerate(placed.numbers(split))
    }
    rows = [_leftover_row(leftover) for leftover in listing.leftovers]
    for number, pair in enumerate(listing.pairs):
        facts = unsplit.facts[number]
        split, reason = placed.dropped.get(
            number, (placed.splits.get(number, pair.split), facts.reason)
        )
        rows.append(
            ManifestRow(
                id=pair.id,
                member=pair.member.name,
                sketch_member=pair.sketch_member.name if pair.sketch_member else "",
                sha256=facts.sha256,
                sketch_sha256=facts.sketch_sha256,
                split=split,
                row=indices.get(number),
                width=facts.width,
                height=facts.height,
                sketch_turned=facts.sketch_turned,
                verdict="rejected" if reason else "accepted",
                reason=reason,
                **_measures(facts.agreement),
            )
        )
    return rows


def _measures(agreement: Agreement | None) -> dict[str, float]:
    if agreement is None:
        return {}
    return {name: round(getattr(agreement, name), 3) for name in MEASURES}


def _leftover_row(leftover: Leftover) -> ManifestRow:
    return ManifestRow(
        id="",
        member=leftover.member.name,
        sketch_member="",
        sha256="",
        sketch_sha256="",
        split=None,
        row=None,
        width=None,
        height=None,
        sketch_turned=None,
        verdict=leftover.verdict,
        reason=leftover.reason,
    )


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write ``manifest.csv``, sorted by member, whole or not at all."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        # one at a time: all lines of a hundred thousand rows at once would be the peak of memory
        writer.writerows(map(attrgetter(*COLUMNS), sorted(rows, key=attrgetter("member"))))


def count_pairs(rows: Sequence[ManifestRow]) -> dict[Split, int]:
    """Count accepted pairs by split."""
    counts = Counter(row.split for row in rows if row.verdict == "accepted")
    return {split: counts[split] for split in SPLITS}


def count_turned(rows: Sequence[ManifestRow]) -> int:
    """Count accepted pairs whose sketch was turned around."""
    return sum(row.verdict == "accepted" and row.sketch_turned is True for row in rows)


def count_verdicts(rows: Sequence[ManifestRow]) -> dict[Verdict, int]:
    """Count rows by verdict."""
    counts = Counter(row.verdict for row in rows)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def count_reasons(rows: Sequence[ManifestRow], verdict: Verdict) -> dict[str, int]:
    """Count rows of a verdict by kind of reason, the most frequent first."""
    counts = Counter(row.reason_kind for row in rows if row.verdict == verdict)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
