"""``manifest.csv``: a row for every member of the raw archive, with its verdict; and counts."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import count
from operator import attrgetter
from pathlib import Path

from colorizer.base.files import atomic_path
from pipeline_steps.prepare.agreement import Agreement
from pipeline_steps.prepare.pairing import Leftover, Listing, Split, Verdict
from pipeline_steps.prepare.records import Codec, sort_records
from pipeline_steps.prepare.splits import PlacedPairs
from pipeline_steps.prepare.worker_pool import UnsplitPairs

SPLITS: tuple[Split, ...] = ("train", "val", "test")
MEASURES = ("match", "gain", "stray", "worst_stray", "tone", "toned", "white", "chroma")
COPY_REASONS = ("exact duplicate", "same truth")
MAX_LISTED_COPIES = 50
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
MANIFEST_ROW: Codec[ManifestRow] = Codec(
    attrgetter(*COLUMNS), lambda values: ManifestRow(**dict(zip(COLUMNS, values, strict=True)))
)


def manifest_rows(
    listing: Listing, unsplit: UnsplitPairs, placed: PlacedPairs
) -> Iterator[ManifestRow]:
    """Yield a row for each leftover and for each listed pair, unsorted."""
    yield from map(_leftover_row, listing.leftovers)
    places = {split: count() for split in SPLITS}
    for number, (pair, facts) in enumerate(zip(listing.pairs, unsplit.facts, strict=True)):
        kept_in = placed.split(number)
        split, reason = placed.dropped.get(number, (kept_in or pair.split, facts.reason))
        yield ManifestRow(
            id=pair.id,
            member=pair.member.name,
            sketch_member=pair.sketch_member.name if pair.sketch_member else "",
            sha256=facts.sha256,
            sketch_sha256=facts.sketch_sha256,
            split=split,
            row=next(places[kept_in]) if kept_in else None,
            width=facts.width,
            height=facts.height,
            sketch_turned=facts.sketch_turned,
            verdict="rejected" if reason else "accepted",
            reason=reason,
            **_measures(facts.agreement),
        )


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


def write_manifest(path: Path, rows: Iterable[ManifestRow], work_folder: Path) -> None:
    """Write ``manifest.csv``, sorted by member, whole or not at all."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        in_order = sort_records(rows, attrgetter("member"), work_folder, MANIFEST_ROW)
        writer.writerows(map(attrgetter(*COLUMNS), in_order))


@dataclass(kw_only=True)
class Tally:
    """What the rows of a manifest add up to."""

    pairs: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    """Accepted pairs by split."""
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    """Rows by verdict."""
    num_turned: int = 0
    """Accepted pairs whose sketch was turned around."""
    sizes: Counter[int] = field(default_factory=Counter)
    """Accepted pairs by the longer side in the archive, in pixels."""
    copies: list[ManifestRow] = field(default_factory=list)
    """The first ``MAX_LISTED_COPIES`` rows left out as copies."""
    _reasons: Counter[tuple[Verdict, str]] = field(default_factory=Counter)

    def adding(self, rows: Iterable[ManifestRow]) -> Iterator[ManifestRow]:
        """Yield the rows unchanged, counting each."""
        for row in rows:
            self._add(row)
            yield row

    def reasons(self, verdict: Verdict) -> dict[str, int]:
        """Rows of a verdict by kind of reason, the most frequent first."""
        counts = {kind: num for (own, kind), num in self._reasons.items() if own == verdict}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _add(self, row: ManifestRow) -> None:
        self.verdicts[row.verdict] += 1
        self._reasons[row.verdict, row.reason_kind] += 1
        if row.verdict == "accepted":
            assert row.split is not None, "an accepted pair has a split"
            self.pairs[row.split] += 1
            self.num_turned += row.sketch_turned is True
            self.sizes[max(row.width or 0, row.height or 0)] += 1
        if row.reason_kind in COPY_REASONS and len(self.copies) < MAX_LISTED_COPIES:
            self.copies.append(row)
