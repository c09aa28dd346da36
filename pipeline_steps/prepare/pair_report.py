"""How well the halves of the pairs agree, in pictures: each measure's distribution, and the worst.

measures.png      a histogram a measure: pairs whose halves belong together, and the others
worst_pairs.png   the worst rejected pairs and, below, the worst of the accepted
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.agreement import Agreement, severity
from pipeline_steps.prepare.markdown import markdown_table
from pipeline_steps.prepare.pairing import Listing
from pipeline_steps.prepare.worker_pool import UnsplitPairs

NUM_WORST = 10
CELL_PX = 128
GAP_PX = 6
CAPTION_PX = 16
NUM_BINS = 30
PANEL_COLUMNS = 4
PANEL_SIZE = (250, 130)
ACCEPTED_COLOUR, REJECTED_COLOUR = (120, 150, 185), (215, 45, 45)
TEXT_COLOUR, AXIS_COLOUR = (30, 30, 30), (150, 150, 150)


class JudgedPair(NamedTuple):
    """A pair that was measured."""

    number: int
    id: str
    agreement: Agreement
    reason: str
    """Why its measures rejected it; empty if they didn't."""


class _Measure(NamedTuple):
    name: str
    low: float
    high: float
    meaning: str


MEASURES = (
    _Measure("match", -0.2, 1.0, "correlation of lines and outlines; 1: equal"),
    _Measure("gain", 0.0, 1.0, "of the match, if moved, scaled, turned or mirrored"),
    _Measure("stray", 0.0, 1.0, "part of the lines without an outline"),
    _Measure("worst_stray", 0.0, 1.0, "the same, where it's worst"),
    _Measure("tone", -0.2, 1.0, "correlation of areas' greys; 1: sketch is the picture in grey"),
    _Measure("toned", 0.0, 1.0, "part of the colour half's areas that the sketch has too"),
    _Measure("white", 0.0, 1.0, "part of the sketch that is paper"),
    _Measure("chroma", 0.0, 255.0, "of the colour half's most coloured hundredth"),
)


_ROW = np.dtype(
    [("number", "<i8"), ("is_rejected", "?"), ("severity", "<f8")]
    + [(measure.name, "<f8") for measure in MEASURES]
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All pairs that were measured, in the order of the listing."""

    table: np.ndarray
    """A row a pair, of ``_ROW``; memory-mapped."""
    listing: Listing
    unsplit: UnsplitPairs
    left_out: Container[int] = frozenset()
    """Numbers of pairs that are rejected for another reason, such as copies."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def num_rejected(self) -> int:
        """Count the pairs that their measures rejected."""
        return int(self.table["is_rejected"].sum())

    def rejected(self) -> Iterator[JudgedPair]:
        """Yield the pairs that their measures rejected."""
        return map(self._pair, self.table["number"][self.table["is_rejected"]])

    def worst_pairs(self) -> tuple[list[JudgedPair], list[JudgedPair]]:
        """The worst rejected and the worst accepted pairs, at most ``NUM_WORST`` of each."""
        is_rejected = self.table["is_rejected"]
        ranked = (self._ranked(is_rejected), self._ranked(~is_rejected))
        rejected, accepted = (list(islice(numbers, NUM_WORST)) for numbers in ranked)
        return list(map(self._pair, rejected)), list(map(self._pair, accepted))

    def _ranked(self, chosen: np.ndarray) -> Iterator[int]:
        numbers, severities = self.table["number"][chosen], self.table["severity"][chosen]
        order = np.argsort(-severities, kind="stable")
        return (int(each) for each in numbers[order] if int(each) not in self.left_out)

    def _pair(self, number: int) -> JudgedPair:
        facts = self.unsplit.facts[number]
        assert facts.agreement is not None, "the pair was measured"
        return JudgedPair(number, self.listing.pairs[number].id, facts.agreement, facts.reason)


def judge(listing: Listing, unsplit: UnsplitPairs, work_folder: Path) -> Judgement:
    """List the pairs that were measured, in a file of ``work_folder``."""
    path = work_folder / "judged"
    with path.open("wb") as file:
        for number, facts in enumerate(unsplit.facts):
            if facts.agreement is not None:
                measures = [getattr(facts.agreement, measure.name) for measure in MEASURES]
                row = (number, bool(facts.reason), severity(facts.agreement), *measures)
                file.write(np.array(row, _ROW).tobytes())
    table = np.memmap(path, _ROW, "r") if path.stat().st_size else np.empty(0, _ROW)
    return Judgement(table=table, listing=listing, unsplit=unsplit)


def draw_worst_pairs(
    judgement: Judgement, read: Callable[[Sequence[int]], Iterable[UInt8Array]]
) -> Image.Image:
    """The worst pairs, sketch over colour picture, numbered as in :func:`pair_section`.

    ``read`` gives packed pairs (S×S×4) by their numbers.
    """
    rows = [row for row in judgement.worst_pairs() if row]
    pitch = CELL_PX + GAP_PX
    height = CAPTION_PX + 2 * CELL_PX + GAP_PX
    size = (NUM_WORST * pitch + GAP_PX, max(1, len(rows)) * height)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    number = 0
    for row, pairs in enumerate(rows):
        packed_pairs = read([pair.number for pair in pairs])
        for column, (pair, packed) in enumerate(zip(pairs, packed_pairs, strict=True)):
            number += 1
            left, top = GAP_PX + column * pitch, row * height
            colour = REJECTED_COLOUR if pair.reason else TEXT_COLOUR
            verdict = "rejected" if pair.reason else "accepted"
            text = f"{number} {verdict}, match {pair.agreement.match:.2f}"
            draw.text((left, top + 2), text, colour, _font())
            top += CAPTION_PX
            sheet.paste(_cell(packed[..., 3]), (left, top))
            sheet.paste(_cell(packed[..., COLOUR]), (left, top + CELL_PX))
            box = (left - 1, top - 1, left + CELL_PX, top + 2 * CELL_PX)
            draw.rectangle(box, outline=colour)
    return sheet


def _cell(pixels: UInt8Array) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    return picture.resize((CELL_PX, CELL_PX), Image.Resampling.BOX)


def draw_measures(judgement: Judgement) -> Image.Image:
    """A histogram a measure; the root of the counts, so that a few bad pairs are seen."""
    width, height = PANEL_SIZE
    lines = -(-len(MEASURES) // PANEL_COLUMNS)
    chart = Image.new("RGB", (PANEL_COLUMNS * width, lines * height), "white")
    for place, measure in enumerate(MEASURES):
        table = judgement.table
        panel = _draw_panel(measure, table[measure.name], table["is_rejected"])
        chart.paste(panel, (place % PANEL_COLUMNS * width, place // PANEL_COLUMNS * height))
    return chart


def _draw_panel(measure: _Measure, values: np.ndarray, is_rejected: np.ndarray) -> Image.Image:
    width, height = PANEL_SIZE
    panel = Image.new("RGB", PANEL_SIZE, "white")
    draw = ImageDraw.Draw(panel)
    draw.text((10, 2), measure.name, TEXT_COLOUR, _font())
    left, top, right, bottom = 10, 20, width - 10, height - 18
    clipped = np.clip(values, measure.low, measure.high)
    counts = [
        np.histogram(clipped[chosen], NUM_BINS, (measure.low, measure.high))[0]
        for chosen in (~is_rejected, is_rejected)
    ]
    most = max(1, int(max(each.max() for each in counts)))
    bar_px = (right - left) / NUM_BINS
    for place in range(NUM_BINS):
        start = left + place * bar_px
        # side by side: neither hides the other
        for part, (count, colour) in enumerate(
            zip((each[place] for each in counts), (ACCEPTED_COLOUR, REJECTED_COLOUR), strict=True)
        ):
            if count:
                high = max(2, round((bottom - top) * (count / most) ** 0.5))
                first = round(start + part * bar_px / 2)
                last = max(first, round(start + (part + 1) * bar_px / 2) - 1)
                draw.rectangle((first, bottom - high, last, bottom), fill=colour)
    draw.line((left, bottom, right, bottom), AXIS_COLOUR)
    draw.text((left, bottom + 2), f"{measure.low:g}", TEXT_COLOUR, _font())
    draw.text((right, bottom + 2), f"{measure.high:g}", TEXT_COLOUR, _font(), anchor="ra")
    return panel


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


def pair_section(judgement: Judgement) -> list[str]:
    """The part of ``report.md`` on the agreement of the halves."""
    if not len(judgement):
        return []
    num_rejected, num_pairs = judgement.num_rejected, len(judgement)
    return [
        "## Do the halves belong together?",
        f"**{num_rejected} of {num_pairs} pairs ({num_rejected / num_pairs:.1%}) were rejected"
        " because their halves don't belong together**; `prepare.pair_checks` says how strict this"
        " is. Look at the worst rejected pairs and at the worst accepted ones:",
        "![The worst pairs](worst_pairs.png)",
        markdown_table(("", "pair", *_SHOWN, "verdict"), _worst_rows(judgement)),
        "Each measure's distribution, pairs whose halves belong together in blue, the others in red"
        " (the height is the root of their number); every pair's measures are in `manifest.csv`:",
        "![Distributions of the measures](measures.png)",
        markdown_table(
            ("measure", "5 %", "median", "95 %", "what it is"), _measure_rows(judgement)
        ),
    ]


_SHOWN = ("match", "gain", "stray", "worst_stray", "toned", "chroma")


def _worst_rows(judgement: Judgement) -> Iterator[list[str]]:
    rejected, accepted = judgement.worst_pairs()
    for number, pair in enumerate((*rejected, *accepted), 1):
        values = [f"{getattr(pair.agreement, name):.3g}" for name in _SHOWN]
        name = pair.id.replace("|", "\\|").replace("`", "'")
        yield [str(number), f"`{name}`", *values, pair.reason or "accepted"]


def _measure_rows(judgement: Judgement) -> Iterator[list[str]]:
    for measure in MEASURES:
        quantiles = np.quantile(judgement.table[measure.name], (0.05, 0.5, 0.95))
        yield [measure.name, *(f"{value:.3g}" for value in quantiles), measure.meaning]
