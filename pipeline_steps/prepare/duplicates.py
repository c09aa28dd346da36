"""Which pairs are left out as copies: no split may hold another's truth, nor a pair twice.

Exact duplicates have equal decoded pixels, whatever the files. Which pairs share a truth,
:mod:`same_truth` finds.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline_steps.prepare.pairing import Split

SPLIT_RANK: dict[Split, int] = {"train": 0, "val": 1, "test": 2}


class SplitPair(NamedTuple):
    """A pair's id and split, by which the rules choose the copy to keep."""

    id: str
    split: Split


def fingerprint(colour: Image.Image, sketch: Image.Image) -> bytes:
    """SHA-256 of both halves' full-size pixels."""
    digest = hashlib.sha256()
    for picture in (colour, sketch):
        digest.update(repr(picture.size).encode())
        digest.update(np.asarray(picture).data)
    return digest.digest()


def exact_duplicates(pairs: Sequence[SplitPair], digests: Sequence[bytes]) -> dict[int, str]:
    """Find the pairs to drop, and why; test keeps its copy before val, val before train."""
    by_digest: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(digests):
        by_digest[digest].append(number)
    dropped: dict[int, str] = {}
    for numbers in by_digest.values():
        kept, *others = sorted(numbers, key=lambda number: _precedence(pairs[number]))
        for number in others:
            dropped[number] = f"exact duplicate: of {_name(pairs[kept])}"
    return dropped


def straddlers(group: Sequence[SplitPair]) -> dict[int, str]:
    """Find the pairs of a group that shares a truth to drop, and why, so that it has one split.

    It stays whole in the greatest of its splits (train < val < test), and leaves the others.
    """
    kept = min(group, key=_precedence)
    reason = f"same truth: as {_name(kept)}"
    return {number: reason for number, pair in enumerate(group) if pair.split != kept.split}


def _precedence(pair: SplitPair) -> tuple[int, str]:
    return -SPLIT_RANK[pair.split], pair.id


def _name(pair: SplitPair) -> str:
    return f"{pair.id!r} in {pair.split}"
