"""The data report: the pairs in numbers and in pictures, for people and for ``dvc metrics``.

report.md           counts, reasons, colours, in words and tables
counts.json         the counts as metrics
colours.csv         mean and standard deviation of CIELAB by split
hues.csv            share of the coloured pixels by hue and split
measures.png        how well the halves agree: histograms (``pair_report``)
worst_pairs.png     the pairs whose halves agree worst
contact_sheet.png   about 32 pairs, sketch over colour
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorizer.base.files import atomic_path, write_json, write_text
from pipeline_steps.base.json_and_csv import write_table
from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.colour_statistics import SplitColours, colour_table, hue_table
from pipeline_steps.prepare.manifest import COPY_REASONS, SPLITS, Tally
from pipeline_steps.prepare.markdown import markdown_table
from pipeline_steps.prepare.pair_report import (
    Judgement,
    draw_measures,
    draw_worst_pairs,
    pair_section,
)
from pipeline_steps.prepare.pairing import Split

SHEET_PAIRS = 32
SHEET_COLUMNS = 8
MAX_SHEET_CELL_PX = 128
SHEET_GAP_PX = 4
MIN_VAL_PAIRS = 5
"""Fewer choose an epoch hardly better than chance."""


def write_data_report(
    folder: Path,
    *,
    tally: Tally,
    colours: Mapping[Split, SplitColours],
    dataset: Mapping[str, Any],
    sheet_pairs: Sequence[UInt8Array],
    judgement: Judgement,
    read: Callable[[Sequence[int]], Iterable[UInt8Array]],
) -> None:
    """Write every file of the report; ``sheet_pairs`` (S×S×4) are shown on the contact sheet.

    ``judgement`` is of the pairs that were measured, ``read`` gives packed pairs by their numbers.
    """
    colour_lines = colour_table(colours)
    write_json(folder / "counts.json", counts(tally))
    write_table(folder / "colours.csv", colour_lines)
    write_table(folder / "hues.csv", hue_table(colours))
    with atomic_path(folder / "contact_sheet.png") as partial:
        draw_contact_sheet(sheet_pairs).save(partial)
    with atomic_path(folder / "measures.png") as partial:
        draw_measures(judgement).save(partial)
    with atomic_path(folder / "worst_pairs.png") as partial:
        draw_worst_pairs(judgement, read).save(partial)
    write_text(folder / "report.md", _markdown(tally, colour_lines, dataset, judgement))


def counts(tally: Tally) -> dict[str, Any]:
    """Count pairs by split, members by verdict, and duplicates."""
    reasons = tally.reasons("rejected")
    return {
        "pairs": tally.pairs,
        "verdicts": tally.verdicts,
        "exact_duplicates": reasons.get("exact duplicate", 0),
        "same_truths": reasons.get("same truth", 0),
        "sketches_turned_around": tally.num_turned,
    }


def draw_contact_sheet(pairs: Sequence[UInt8Array]) -> Image.Image:
    """Arrange packed pairs (S×S×4) on white, each sketch over its colour picture."""
    cell_px = min(MAX_SHEET_CELL_PX, len(pairs[0]) if pairs else MAX_SHEET_CELL_PX)
    columns = max(1, min(SHEET_COLUMNS, len(pairs)))
    lines = -(-len(pairs) // columns)
    pitch_x, pitch_y = cell_px + SHEET_GAP_PX, 2 * cell_px + SHEET_GAP_PX
    size = (columns * pitch_x + SHEET_GAP_PX, lines * pitch_y + SHEET_GAP_PX)
    sheet = Image.new("RGB", size, "white")
    for number, pair in enumerate(pairs):
        left = SHEET_GAP_PX + number % columns * pitch_x
        top = SHEET_GAP_PX + number // columns * pitch_y
        sketch = Image.fromarray(np.ascontiguousarray(pair[..., 3])).convert("RGB")
        colour = Image.fromarray(np.ascontiguousarray(pair[..., COLOUR]))
        for offset, picture in enumerate((sketch, colour)):
            cell = picture.resize((cell_px, cell_px), Image.Resampling.BOX)
            sheet.paste(cell, (left, top + offset * cell_px))
    return sheet


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """Take at most ``most`` of the numbers, evenly spaced, first and last among them."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[round(place)] for place in np.linspace(0, len(numbers) - 1, most)]


def _markdown(
    tally: Tally,
    colours: Sequence[Mapping[str, Any]],
    dataset: Mapping[str, Any],
    judgement: Judgement,
) -> str:
    pairs = tally.pairs
    sections = [
        "# Data report",
        f"{sum(pairs.values())} pairs of {dataset['image_size']}×{dataset['image_size']} px;"
        f" the sketch is {_side_words(dataset['sketch_side'])}."
        f" Fingerprint `{dataset['fingerprint']}`.{_turned_words(tally.num_turned)}",
        _table([{"split": split, "pairs": pairs[split]} for split in SPLITS]),
        *split_remarks(pairs, val_is_test=bool(dataset["archive_val_is_test"])),
        *_size_remarks(tally.sizes, dataset["image_size"]),
        "## Members of the archive",
        _table([{"verdict": key, "members": value} for key, value in tally.verdicts.items()]),
    ]
    for verdict in ("rejected", "ignored"):
        reasons = tally.reasons(verdict)
        if reasons:
            sections += [
                f"### Why {verdict}",
                _table([{"reason": key, "members": value} for key, value in reasons.items()]),
            ]
    sections += pair_section(judgement)
    sections += _duplicate_section(tally)
    sections += [
        "## Colours",
        "CIELAB of the packed colour pictures, padding included; hues are in `hues.csv`.",
        _table(colours),
        "## Pictures",
        "![Sketches over their colour pictures](contact_sheet.png)",
    ]
    return "\n\n".join(sections) + "\n"


def _side_words(sketch_side: str | None) -> str:
    return f"the {sketch_side} half" if sketch_side else "a picture of its own"


def _turned_words(num_turned: int) -> str:
    if not num_turned:
        return ""
    return f" {num_turned} sketches were in light on dark and were turned around to dark on white."


def split_remarks(pairs: Mapping[Split, int], *, val_is_test: bool) -> list[str]:
    """What a person should know of the splits, a sentence each."""
    remarks = []
    if val_is_test:
        remarks.append(
            "The archive's val folder is the test set, because it has no test folder; val is taken"
            " from train."
        )
    if 0 < pairs["val"] < MIN_VAL_PAIRS:
        chooses = "1 pair chooses" if pairs["val"] == 1 else f"{pairs['val']} pairs choose"
        remarks.append(
            f"Only {chooses} the best epoch, which is little better than chance: give more pairs or"
            " raise prepare.val_fraction."
        )
    return remarks


def _size_remarks(sizes: Counter[int], image_size: int) -> list[str]:
    """How large the pictures of the accepted pairs are, and how many had to be enlarged."""
    if not sizes:
        return []
    num_pairs = sizes.total()
    up_to = accumulate(sizes[size] for size in sorted(sizes))
    middle = next(
        size for size, num in zip(sorted(sizes), up_to, strict=True) if num > num_pairs // 2
    )
    words = (
        f"Longer sides in the archive: {min(sizes)} px at least, {middle} px in the"
        f" middle, {max(sizes)} px at most."
    )
    num_enlarged = sum(num for size, num in sizes.items() if size < image_size)
    if num_enlarged:
        words += (
            f" {num_enlarged} of {num_pairs} pairs are smaller than {image_size} px and were"
            " enlarged, which adds no detail: lower prepare.image_size or give larger pictures."
        )
    return [words]


def _duplicate_section(tally: Tally) -> list[str]:
    if not tally.copies:
        return []
    lines = [f"- `{row.id}` ({row.split}): {row.reason}" for row in tally.copies]
    reasons = tally.reasons("rejected")
    num_more = sum(reasons.get(kind, 0) for kind in COPY_REASONS) - len(lines)
    if num_more:
        lines.append(f"- and {num_more} more, in `manifest.csv`")
    return ["## Copies left out", "\n".join(lines)]


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    return markdown_table(list(lines[0]), [list(line.values()) for line in lines])
