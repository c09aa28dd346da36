"""Which split a pair goes to (train, val, test): a function of its own id.

The archive's test set is test; its ``val`` alone is test as well. Where it has no val or no test,
the hash of the id decides, so new pairs never move old ones. If by chance that leaves a split
empty, the training pair of the smallest hash goes there. Of exact duplicates one is kept; of near
duplicates in several splits, those of one split.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_steps.prepare.duplicates import (
    Fingerprint,
    SplitPair,
    exact_duplicates,
    near_groups,
    straddlers,
)
from pipeline_steps.prepare.pairing import ListedPair, Listing, Split
from pipeline_steps.prepare.worker_pool import UnsplitPairs


@dataclass(frozen=True, kw_only=True)
class PlacedPairs:
    """The split of each valid pair, by the pairs' numbers in the listing."""

    splits: dict[int, Split]
    """Of the pairs that are kept, by number."""
    dropped: dict[int, tuple[Split, str]]
    """The split and the reason of those that are dropped."""

    def numbers(self, split: Split) -> list[int]:
        """List a split's pairs, sorted by id as the listing is."""
        return sorted(number for number, own in self.splits.items() if own == split)

    def drop(self, reasons: dict[int, str]) -> None:
        """Remove pairs from their splits, with a reason each."""
        for number, reason in reasons.items():
            self.dropped[number] = (self.splits.pop(number), reason)


def place_pairs(
    listing: Listing,
    unsplit: UnsplitPairs,
    fractions: dict[str, float],
    near_duplicate_distance: int,
) -> PlacedPairs:
    """Give every valid pair its split, then drop duplicates.

    ``fractions`` are the shares of ``val`` and ``test`` by hash of id where the archive has no such
    split; ``near_duplicate_distance`` is in bits of 64.
    """
    if listing.has_val:
        fractions = {**fractions, "val": 0.0}
    if listing.has_test:
        fractions = {**fractions, "test": 0.0}
    fingerprints = {
        number: facts.fingerprint
        for number, facts in enumerate(unsplit.facts)
        if facts.fingerprint is not None
    }
    splits = {number: _split_of(listing.pairs[number], fractions) for number in fingerprints}
    placed = PlacedPairs(splits=splits, dropped={})
    _drop_exact(listing, placed, fingerprints)
    groups = _near_groups(placed, fingerprints, unsplit, near_duplicate_distance)
    # twice: a pair that filled an empty split may be dropped again as a near duplicate of a pair
    # in another split; by then no duplicate of the next one is left
    for _ in range(2):
        for split in ("test", "val"):
            if fractions[split]:
                _fill_if_empty(listing, placed, split)
        _drop_straddlers(listing, placed, groups)
    return placed


def _split_of(pair: ListedPair, fractions: dict[str, float]) -> Split:
    if pair.split in ("val", "test"):
        return pair.split
    if unit_hash(pair.id, "test") < fractions["test"]:
        return "test"
    return "val" if unit_hash(pair.id, "val") < fractions["val"] else "train"


def unit_hash(id: str, split: str) -> float:
    """Hash an id to [0, 1), independently for each split."""
    digest = hashlib.sha256(f"{split}/{id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _fill_if_empty(listing: Listing, placed: PlacedPairs, split: Split) -> None:
    train = placed.numbers("train")
    if train and not placed.numbers(split):
        ids = {number: listing.pairs[number].id for number in train}
        placed.splits[min(train, key=lambda number: unit_hash(ids[number], split))] = split


def _drop_exact(
    listing: Listing, placed: PlacedPairs, fingerprints: dict[int, Fingerprint]
) -> None:
    numbers = sorted(placed.splits)
    pairs = _split_pairs(listing, placed, numbers)
    reasons = exact_duplicates(pairs, [fingerprints[number].digest for number in numbers])
    placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _near_groups(
    placed: PlacedPairs,
    fingerprints: dict[int, Fingerprint],
    unsplit: UnsplitPairs,
    max_distance: int,
) -> list[list[int]]:
    numbers = sorted(placed.splits)
    if not numbers:
        return []
    groups = near_groups(
        [fingerprints[number] for number in numbers],
        unsplit.thumbs(),
        thumb_numbers=numbers,
        max_distance=max_distance,
    )
    return [[numbers[place] for place in group] for group in groups]


def _drop_straddlers(
    listing: Listing, placed: PlacedPairs, groups: Sequence[Sequence[int]]
) -> None:
    for group in groups:
        numbers = [number for number in group if number in placed.splits]
        if numbers:
            reasons = straddlers(_split_pairs(listing, placed, numbers))
            placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _split_pairs(listing: Listing, placed: PlacedPairs, numbers: Sequence[int]) -> list[SplitPair]:
    return [SplitPair(listing.pairs[number].id, placed.splits[number]) for number in numbers]
