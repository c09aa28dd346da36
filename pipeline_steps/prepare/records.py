"""Sequences that are too long for memory: their items lie in a file of the work folder.

Written once, then mapped: of a million items the process itself holds none, and the system drops
the file's pages when it needs the memory. Items are JSON, one after another; a second file says
where each ends.
"""

import heapq
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, overload

Item = TypeVar("Item")

SORTED_AT_ONCE = 10_000
"""Items in memory while they are sorted."""


@dataclass(frozen=True)
class Codec(Generic[Item]):
    """How an item becomes a JSON value and an equal item again."""

    encode: Callable[[Item], Any]
    decode: Callable[[Any], Item]


class Records(Sequence[Item], Generic[Item]):
    """The items that :func:`write_records` wrote to ``path``; workers get the path alone."""

    def __init__(self, path: Path, codec: Codec[Item]) -> None:
        self.path = path
        self.codec = codec

    def mapped(self) -> Self:
        """Map the file now, which the first reading does otherwise. Raises :class:`OSError`."""
        _ = self._data, self._ends
        return self

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        if isinstance(number, slice):
            return [self._read(each) for each in range(*number.indices(len(self)))]
        return self._read(range(len(self))[number])

    def __iter__(self) -> Iterator[Item]:
        return map(self._read, range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Records, (self.path, self.codec)

    @cached_property
    def _data(self) -> memoryview:
        return _map(self.path)

    @cached_property
    def _ends(self) -> memoryview:
        return _map(_ends_path(self.path)).cast("Q")

    def _read(self, number: int) -> Item:
        start = self._ends[number - 1] if number else 0
        return self.codec.decode(json.loads(bytes(self._data[start : self._ends[number]])))


def write_records(path: Path, items: Iterable[Item], codec: Codec[Item]) -> Records[Item]:
    """Write items to ``path``, one at a time, and map them. Raises :class:`OSError`."""
    end = 0
    with path.open("wb") as data, _ends_path(path).open("wb") as ends:
        for item in items:
            end += data.write(json.dumps(codec.encode(item)).encode())
            ends.write(end.to_bytes(8, "little"))
    return Records(path, codec).mapped()


def sort_records(
    items: Iterable[Item], key: Callable[[Item], Any], work_folder: Path, codec: Codec[Item]
) -> Iterator[Item]:
    """Yield items sorted by ``key``, equal ones in their order, with few of them in memory."""
    iterator = iter(items)
    runs: list[Records[Item]] = []
    while batch := list(islice(iterator, SORTED_AT_ONCE)):
        run = work_folder / f"sorted.{len(runs)}"
        runs.append(write_records(run, sorted(batch, key=key), codec))
    yield from heapq.merge(*runs, key=key)
    for each in runs:
        each.path.unlink()
        _ends_path(each.path).unlink()


def _ends_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.ends")


def _map(path: Path) -> memoryview:
    if not path.stat().st_size:  # which can't be mapped
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
