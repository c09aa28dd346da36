"""Which split a pair goes to (train, val, test): by the archive, or by hash of an id.

The archive's test set is test; its ``val`` alone is test as well. Pairs that share a truth share a
split: where the archive puts them into several, those of one are kept (test before val before
train). Where it has no val or no test, the hash of a group's first id decides, so new pairs hardly
ever move old ones. If by chance that leaves a split empty, the training group of the smallest hash
goes there. Of exact duplicates one is kept.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_steps.prepare.duplicates import SplitPair, exact_duplicates, straddlers
from pipeline_steps.prepare.pairing import ListedPair, Listing, Split
from pipeline_steps.prepare.same_truth import same_truth_groups
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
    max_truth_difference: float,
) -> PlacedPairs:
    """Give every valid pair its split, then drop copies.

    ``fractions`` are the shares of ``val`` and ``test`` by hash of id where the archive has no such
    split; ``max_truth_difference`` is :func:`same_truth_groups`'s.
    """
    if listing.has_val:
        fractions = {**fractions, "val": 0.0}
    if listing.has_test:
        fractions = {**fractions, "test": 0.0}
    valid = [number for number, facts in enumerate(unsplit.facts) if facts.fingerprint is not None]
    groups = same_truth_groups(unsplit.truths(), valid, max_truth_difference) if valid else []
    placed = PlacedPairs(splits={}, dropped={})
    for group in groups:
        placed.splits.update(
            _split_group([listing.pairs[number] for number in group], group, fractions)
        )
    _drop_exact(listing, unsplit, placed)
    for group in groups:
        _drop_straddlers(listing, placed, group)
    for split in ("test", "val"):
        if fractions[split]:
            _fill_if_empty(listing, placed, groups, split)
    return placed


def _split_group(
    pairs: Sequence[ListedPair], numbers: Sequence[int], fractions: dict[str, float]
) -> dict[int, Split]:
    """The split of each pair of a group: the archive's for val and test, the group's for train."""
    by_hash = _split_by_hash(min(pair.id for pair in pairs), fractions)
    is_fixed = any(pair.split in ("val", "test") for pair in pairs)
    rest: Split = "train" if is_fixed else by_hash
    return {
        number: pair.split if pair.split in ("val", "test") else rest
        for number, pair in zip(numbers, pairs, strict=True)
    }


def _split_by_hash(id: str, fractions: dict[str, float]) -> Split:
    if unit_hash(id, "test") < fractions["test"]:
        return "test"
    return "val" if unit_hash(id, "val") < fractions["val"] else "train"


def unit_hash(id: str, split: str) -> float:
    """Hash an id to [0, 1), independently for each split."""
    digest = hashlib.sha256(f"{split}/{id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _fill_if_empty(
    listing: Listing, placed: PlacedPairs, groups: Sequence[Sequence[int]], split: Split
) -> None:
    if placed.numbers(split):
        return
    kept = [[number for number in group if number in placed.splits] for group in groups]
    train = [group for group in kept if group and placed.splits[group[0]] == "train"]
    if train:
        first_ids = {min(listing.pairs[number].id for number in group): group for group in train}
        chosen = min(first_ids, key=lambda id: unit_hash(id, split))
        placed.splits.update(dict.fromkeys(first_ids[chosen], split))


def _drop_exact(listing: Listing, unsplit: UnsplitPairs, placed: PlacedPairs) -> None:
    numbers = sorted(placed.splits)
    pairs = _split_pairs(listing, placed, numbers)
    digests = [unsplit.facts[number].fingerprint or b"" for number in numbers]
    reasons = exact_duplicates(pairs, digests)
    placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _drop_straddlers(listing: Listing, placed: PlacedPairs, group: Sequence[int]) -> None:
    numbers = [number for number in group if number in placed.splits]
    if numbers:
        reasons = straddlers(_split_pairs(listing, placed, numbers))
        placed.drop({numbers[place]: reason for place, reason in reasons.items()})


def _split_pairs(listing: Listing, placed: PlacedPairs, numbers: Sequence[int]) -> list[SplitPair]:
    return [SplitPair(listing.pairs[number].id, placed.splits[number]) for number in numbers]
