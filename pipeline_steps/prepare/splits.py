"""Which split a pair goes to (train, val, test): by the archive, or by hash of an id.

The archive's test set is test; its ``val`` alone is test as well. Pairs that share a truth share a
split: where the archive puts them into several, those of one are kept (test before val before
train). Where it has no val or no test, the hash of a group's first id decides, so new pairs hardly
ever move old ones. If by chance that leaves a split empty, the training group of the smallest hash
goes there. Of exact duplicates one is kept.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline_steps.prepare.duplicates import (
    SPLIT_RANK,
    SplitPair,
    exact_duplicates,
    straddlers,
)
from pipeline_steps.prepare.pairing import ListedPair, Listing, Split
from pipeline_steps.prepare.same_truth import same_truth_groups
from pipeline_steps.prepare.worker_pool import UnsplitPairs

_NO_SPLIT = -1
_SPLITS: tuple[Split, ...] = tuple(SPLIT_RANK)


class PlacedPairs:
    """The split of each valid pair, by the pairs' numbers in the listing: a byte a pair."""

    dropped: dict[int, tuple[Split, str]]
    """The split and the reason of those that are dropped."""

    def __init__(self, num_pairs: int) -> None:
        self._ranks = np.full(num_pairs, _NO_SPLIT, np.int8)
        self.dropped = {}

    def split(self, number: int) -> Split | None:
        """A pair's split; None for one that isn't kept."""
        rank = self._ranks[number]
        return None if rank == _NO_SPLIT else _SPLITS[rank]

    def numbers(self, split: Split | None = None) -> Sequence[int]:
        """The pairs of a split, or all that are kept, sorted by id as the listing is."""
        ranks = self._ranks
        chosen = ranks != _NO_SPLIT if split is None else ranks == SPLIT_RANK[split]
        return array("q", np.flatnonzero(chosen).astype(np.int64).tobytes())

    def place(self, number: int, split: Split) -> None:
        """Put a pair into a split."""
        self._ranks[number] = SPLIT_RANK[split]

    def drop(self, reasons: dict[int, str]) -> None:
        """Remove pairs from their splits, with a reason each."""
        for number, reason in reasons.items():
            split = self.split(number)
            assert split is not None, "only a pair that is kept can be dropped"
            self.dropped[number] = (split, reason)
            self._ranks[number] = _NO_SPLIT


class _ValidPairs(NamedTuple):
    numbers: Sequence[int]
    digest_starts: npt.NDArray[np.uint64]
    """The first 8 bytes of each one's fingerprint."""


def place_pairs(
    listing: Listing,
    unsplit: UnsplitPairs,
    fractions: dict[str, float],
    max_truth_difference: float,
    work_folder: Path,
) -> PlacedPairs:
    """Give every valid pair its split, then drop copies.

    ``fractions`` are the shares of ``val`` and ``test`` by hash of id where the archive has no such
    split; ``max_truth_difference`` is :func:`same_truth_groups`'s.
    """
    if listing.has_val:
        fractions = {**fractions, "val": 0.0}
    if listing.has_test:
        fractions = {**fractions, "test": 0.0}
    valid = _valid_pairs(unsplit)
    groups = same_truth_groups(unsplit.truths(), valid.numbers, max_truth_difference, work_folder)
    placed = PlacedPairs(len(listing.pairs))
    for group in groups:
        pairs = [listing.pairs[number] for number in group]
        for number, split in zip(group, _split_group(pairs, fractions), strict=True):
            placed.place(number, split)
    _drop_exact(listing, unsplit, placed, valid)
    for group in groups:
        if len(group) > 1:
            _drop_straddlers(listing, placed, group)
    for split in ("test", "val"):
        if fractions[split]:
            _fill_if_empty(listing, placed, groups, split)
    return placed


def _valid_pairs(unsplit: UnsplitPairs) -> _ValidPairs:
    numbers, digest_starts = array("q"), array("Q")
    for number, facts in enumerate(unsplit.facts):
        if facts.fingerprint is not None:
            numbers.append(number)
            digest_starts.append(int.from_bytes(facts.fingerprint[:8], "big"))
    return _ValidPairs(numbers, np.array(digest_starts, np.uint64))


def _split_group(pairs: Sequence[ListedPair], fractions: dict[str, float]) -> list[Split]:
    """The split of each pair of a group: the archive's for val and test, the group's for train."""
    by_hash = _split_by_hash(min(pair.id for pair in pairs), fractions)
    is_fixed = any(pair.split in ("val", "test") for pair in pairs)
    rest: Split = "train" if is_fixed else by_hash
    return [pair.split if pair.split in ("val", "test") else rest for pair in pairs]


def _split_by_hash(id: str, fractions: dict[str, float]) -> Split:
    if unit_hash(id, "test") < fractions["test"]:
        return "test"
    return "val" if unit_hash(id, "val") < fractions["val"] else "train"


def unit_hash(id: str, split: str) -> float:
    """Hash an id to [0, 1), independently for each split."""
    digest = hashlib.sha256(f"{split}/{id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _fill_if_empty(
    listing: Listing, placed: PlacedPairs, groups: Iterable[Sequence[int]], split: Split
) -> None:
    if placed.numbers(split):
        return
    chosen = min(
        _kept_in_train(placed, groups),
        key=lambda group: unit_hash(min(listing.pairs[number].id for number in group), split),
        default=[],
    )
    for number in chosen:
        placed.place(number, split)


def _kept_in_train(placed: PlacedPairs, groups: Iterable[Sequence[int]]) -> Iterator[list[int]]:
    """What is left of each group, where that is in train."""
    for group in groups:
        kept = [number for number in group if placed.split(number)]
        if kept and placed.split(kept[0]) == "train":
            yield kept


def _drop_exact(
    listing: Listing, unsplit: UnsplitPairs, placed: PlacedPairs, valid: _ValidPairs
) -> None:
    # few digests begin alike unless they are equal
    _, place, counts = np.unique(valid.digest_starts, return_inverse=True, return_counts=True)
    numbers = [valid.numbers[int(at)] for at in np.flatnonzero(counts[place] > 1)]
    pairs = _split_pairs(listing, placed, numbers)
    digests = [unsplit.facts[number].fingerprint or b"" for number in numbers]
    reasons = exact_duplicates(pairs, digests)
    placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _drop_straddlers(listing: Listing, placed: PlacedPairs, group: Sequence[int]) -> None:
    numbers = [number for number in group if placed.split(number)]
    if numbers:
        reasons = straddlers(_split_pairs(listing, placed, numbers))
        placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _split_pairs(listing: Listing, placed: PlacedPairs, numbers: Sequence[int]) -> list[SplitPair]:
    return [
        SplitPair(listing.pairs[number].id, split)
        for number in numbers
        if (split := placed.split(number))
    ]
