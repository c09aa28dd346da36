"""``python -m flows.history``: every decision about the champion, from the registry's ledger."""

import argparse
import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import IO

from flows.errors import run_flow_command
from flows.promotion.champion import settle
from flows.promotion.ledger import Entry
from flows.ui.registry_lease import connect_registry
from pipeline_steps.params import read_params

COLUMNS = ("sequence", "when", "action", "version", "champion", "previous", "by", "reason")
MAX_REASON_CHARS = 100


def main() -> None:
    """Print the ledger."""
    parser = argparse.ArgumentParser(prog="python -m flows.history", description=__doc__)
    parser.add_argument("--csv", action="store_true", help="all columns as CSV")
    parser.add_argument("--last", type=int, metavar="N", help="only the last N decisions")
    parser.add_argument("--model", help="the registered model (default: params.yaml's)")
    arguments = parser.parse_args()
    name = arguments.model or read_params().tracking.registered_model
    registry = connect_registry(name)
    standing = settle(registry)
    entries = standing.all_entries[-arguments.last if arguments.last else 0 :]
    if arguments.csv:
        write_csv(entries, sys.stdout)
    elif not entries:
        print(f"no decision about {name} yet; `python -m flows.promote` makes one")
    else:
        print(format_table(entries, is_current=standing.is_current))


def write_csv(entries: list[Entry], file: IO[str]) -> None:
    """Write all columns; metrics and intervals as JSON in their cells."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(field.name for field in fields(Entry))
    for entry in entries:
        cells = asdict(entry) | {"intervals": {k: list(v) for k, v in entry.intervals.items()}}
        writer.writerow(
            json.dumps(cell) if isinstance(cell, dict) else cell for cell in cells.values()
        )


def format_table(
    entries: list[Entry], *, is_current: Callable[[Entry], bool] = lambda _: True
) -> str:
    """The main columns, aligned; long reasons are cut (the CSV has them whole).

    Entries that aren't ``is_current`` are marked: their numbers are those of an earlier model.
    """
    table = [COLUMNS, *(_cells(entry, is_current=is_current(entry)) for entry in entries)]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    )


def _cells(entry: Entry, *, is_current: bool) -> tuple[str, ...]:
    values = [getattr(entry, column) for column in COLUMNS]
    texts = ["–" if value is None else str(value) for value in values]
    reason = texts[-1]
    if len(reason) > MAX_REASON_CHARS:
        reason = reason[: MAX_REASON_CHARS - 1] + "…"
    state = "" if entry.state == "done" else f" ({entry.state})"
    if not is_current:
        state += " (of an earlier model)"
    return (*texts[:2], texts[2] + state, *texts[3:-1], reason)


if __name__ == "__main__":
    run_flow_command(main)
