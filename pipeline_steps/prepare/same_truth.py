"""Groups of pairs that share a truth: a colour picture as it is, coded anew, mirrored or cropped.

Truths of alike colours are compared in both directions, as they are and mirrored (training mirrors
pictures too). Drawings that share their outlines and differ in a mouth or in a colour aren't one.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare.crop_matching import (
    LAYOUT_PX,
    MAX_COARSE_RATIO,
    all_windows,
    are_crops,
    coarse_ratios,
    layouts,
    nearby_windows,
    shrunk,
    window_layouts,
)
from pipeline_steps.prepare.truth_candidates import candidates, colour_shares

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

Item = TypeVar("Item")

STARTS = 2
"""Windows from which the exact one is sought, the best of the coarse comparison."""
MAX_TESTS = 48
"""Per larger truth, the best: bounds the work in a set whose truths are all alike."""
_BLOCK_TRUTHS = 64
_BLOCK_TESTS = 512


class _Test(NamedTuple):
    """Whether ``small``, mirrored or not, is what a window of ``large`` shows."""

    large: int
    small: int
    is_mirrored: bool
    window: int


class _SmallTruths(NamedTuple):
    """All truths, made small; in files of the work folder, mapped."""

    shares: Float32Array
    layouts: Float32Array
    """N×D."""
    shrunk: UInt8Array
    """N×``SHRUNK_PX``×``SHRUNK_PX``."""


def same_truth_groups(
    truths: UInt8Array, numbers: Sequence[int], max_difference: float, work_folder: Path
) -> "TruthGroups":
    """Group the pairs ``numbers`` by truth; sorted, groups of one included.

    ``truths`` is M×T×T×3 with T = ``TRUTH_PX``, may be memory-mapped, by the pairs' numbers.
    ``max_difference`` is :func:`are_crops`'s, 0 for no groups. Files in ``work_folder``
    grow by 2.3 kB a pair, memory by 24 bytes, time by the square of their number.
    """
    groups = TruthGroups(numbers)
    where = np.array(numbers, np.int64)
    if len(numbers) > 1 and max_difference:
        small = _shrink_all(truths, where, work_folder)
        for tests in _batches(_worth_testing(truths, where, small), _BLOCK_TESTS):
            _test(truths, where, small, tests, groups, max_difference)
    return groups


def _shrink(truths: UInt8Array) -> tuple[npt.NDArray[Any], ...]:
    return colour_shares(truths), layouts(truths), shrunk(truths)


def _shrink_all(truths: UInt8Array, where: Int64Array, work_folder: Path) -> _SmallTruths:
    paths = [work_folder / name for name in _SmallTruths._fields]
    with ExitStack() as stack:
        # not to mapped files, whose process a full disk would crash
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for start in range(0, len(where), _BLOCK_TRUTHS):
            block = truths[where[start : start + _BLOCK_TRUTHS]]
            small = _shrink(block)
            for file, each in zip(files, small, strict=True):
                file.write(np.ascontiguousarray(each).data)
    return _SmallTruths(
        *(
            np.memmap(path, each.dtype, "r", shape=(len(where), *each.shape[1:]))
            for path, each in zip(paths, small, strict=True)
        )
    )


def _worth_testing(truths: UInt8Array, where: Int64Array, small: _SmallTruths) -> Iterator[_Test]:
    """Compare candidates coarsely; yield the tests that may succeed."""
    found = ((number, near) for number, near in candidates(small.shares) if len(near))
    for block in _batches(found, _BLOCK_TRUTHS):
        numbers = np.array([number for number, _ in block])
        most = max(len(near) for _, near in block)
        # a truth itself fills the places of missing candidates
        near = np.array([[*near, *[number] * (most - len(near))] for number, near in block])
        windows = window_layouts(truths[where[numbers]])
        shown = small.layouts[near]
        ratios = coarse_ratios(windows, np.concatenate([shown, _mirrored(shown)], axis=1))
        ratios[np.tile(near == numbers[:, None], 2)] = np.inf
        best = np.argpartition(ratios, STARTS, axis=-1)[..., :STARTS]
        best_ratios = np.take_along_axis(ratios, best, axis=-1).reshape(len(block), -1)
        for row, places in enumerate(np.argsort(best_ratios, axis=1, kind="stable")):
            for place in places[:MAX_TESTS]:
                if best_ratios[row, place] > MAX_COARSE_RATIO:
                    break
                column = place // STARTS
                yield _Test(
                    large=int(numbers[row]),
                    small=int(near[row, column % most]),
                    is_mirrored=bool(column >= most),
                    window=int(best[row, column, place % STARTS]),
                )


def _test(
    truths: UInt8Array,
    where: Int64Array,
    small: _SmallTruths,
    tests: Sequence[_Test],
    groups: "TruthGroups",
    max_difference: float,
) -> None:
    """Join the groups of truths that are the same."""
    tests = [test for test in tests if not groups.are_one(test.large, test.small)]
    if not tests:
        return
    larger, smaller, mirrored, starts = (np.array(each) for each in zip(*tests, strict=True))
    shown = np.where(mirrored[:, None], _mirrored(small.layouts[smaller]), small.layouts[smaller])
    windows, may_be = nearby_windows(small.shrunk[larger], shown, all_windows()[starts])
    for some in _batches(np.flatnonzero(may_be), _BLOCK_TRUTHS):
        pictures = truths[where[smaller[some]]]
        pictures[mirrored[some]] = pictures[mirrored[some]][:, :, ::-1]
        are_same = are_crops(truths[where[larger[some]]], pictures, windows[some], max_difference)
        for place in np.array(some)[are_same]:
            groups.join(int(larger[place]), int(smaller[place]))


def _mirrored(layouts: Float32Array) -> Float32Array:
    cells = layouts.reshape(*layouts.shape[:-1], LAYOUT_PX, LAYOUT_PX, 3)
    return cells[..., ::-1, :].reshape(layouts.shape)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class TruthGroups:
    """Disjoint sets (union-find) of the pairs ``numbers``; gives each as a list, sorted."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._parents = array("q", range(len(numbers)))

    def __iter__(self) -> Iterator[list[int]]:
        others: defaultdict[int, list[int]] = defaultdict(list)
        for place in range(len(self._parents)):
            if self._root(place) != place:
                others[self._root(place)].append(place)
        # a group's root is its first place
        for place in range(len(self._parents)):
            if self._root(place) == place:
                yield [self._numbers[each] for each in (place, *others.get(place, ()))]

    def join(self, first: int, second: int) -> None:
        """Make the groups of two places in ``numbers`` one."""
        low, high = sorted((self._root(first), self._root(second)))
        self._parents[high] = low

    def are_one(self, first: int, second: int) -> bool:
        """Whether two places are in one group."""
        return self._root(first) == self._root(second)

    def _root(self, item: int) -> int:
        while self._parents[item] != item:
            self._parents[item] = self._parents[self._parents[item]]
            item = self._parents[item]
        return item
