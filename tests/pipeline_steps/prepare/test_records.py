"""Items in files come back equal, in order, and sorted as Python sorts them."""

import multiprocessing
from pathlib import Path

import pytest

from pipeline_steps.prepare.records import (
    SORTED_AT_ONCE,
    Codec,
    Records,
    sort_records,
    write_records,
)

TEXT: Codec[str] = Codec(str, str)


def test_items_are_read_by_number_by_slice_and_in_order(tmp_path: Path) -> None:
    items = ["", "a", "表", "line\nbreak", "x" * 5000]
    records = write_records(tmp_path / "items", iter(items), TEXT)
    assert list(records) == items
    assert [records[number] for number in (-1, 2, 0)] == [items[-1], items[2], items[0]]
    assert records[1:4] == items[1:4]
    with pytest.raises(IndexError):
        records[5]


def test_no_items_are_an_empty_sequence(tmp_path: Path) -> None:
    assert list(write_records(tmp_path / "items", [], TEXT)) == []


def test_another_process_reads_what_one_wrote(tmp_path: Path) -> None:
    records = write_records(tmp_path / "items", map(str, range(1000)), TEXT)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_last, (records,)) == "999"


def _last(records: Records[str]) -> str:
    return records[-1]


def test_sorting_in_parts_is_sorting_and_keeps_the_order_of_equals(tmp_path: Path) -> None:
    items = [f"{number * 7919 % 1000:03} {number}" for number in range(3 * SORTED_AT_ONCE // 2)]
    by_start = sort_records(items, lambda item: item[:3], tmp_path, TEXT)
    assert list(by_start) == sorted(items, key=lambda item: item[:3])
    assert not list(tmp_path.iterdir())
