"""Pairs that are the same picture, exactly or nearly: no split may hold another's pictures.

Exact: equal decoded pixels, whatever the files. Near: both halves' difference hashes lie within
some bits of each other, and the thumbnails differ nowhere by much. The second test separates a
re-encoded copy from two drawings in one style, which share their outlines and differ in a mouth.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline_steps.pairs.packed import COLOUR, NUM_CHANNELS, UInt8Array
from pipeline_steps.prepare.pairing import Split

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

THUMB_PX = 32
MAX_MEAN_DIFFERENCE = 4.0
"""Mean absolute difference (0..255) of any channel of the thumbnails of nearly the same pair."""
MAX_CELL_DIFFERENCE = 20
"""Largest difference of any cell. Copies of 512 px drawings (JPEG of quality 30, half size) measure
up to 15, the most alike of 594 emojis 24; shifted or cropped copies are not found."""
HASH_BITS = 64
HASH_MARGIN = 4
"""Levels of 255 by which neighbouring cells must differ."""
SPLIT_RANK: dict[Split, int] = {"train": 0, "val": 1, "test": 2}


class Fingerprint(NamedTuple):
    """The hashes by which duplicates are found, together with the thumbnail."""

    digest: bytes
    """SHA-256 of both halves' full-size pixels."""
    colour_hash: int
    """64 bits."""
    sketch_hash: int


class SplitPair(NamedTuple):
    """A pair's id and split, by which the rules choose the copy to keep."""

    id: str
    split: Split


def fingerprint(colour: Image.Image, sketch: Image.Image, packed: UInt8Array) -> Fingerprint:
    """Compute a pair's fingerprint from its full-size pictures and the packed pair (S×S×4)."""
    digest = hashlib.sha256()
    for picture in (colour, sketch):
        digest.update(repr(picture.size).encode())
        digest.update(np.asarray(picture).data)
    return Fingerprint(
        digest=digest.digest(),
        colour_hash=difference_hash(Image.fromarray(np.ascontiguousarray(packed[..., COLOUR]))),
        sketch_hash=difference_hash(Image.fromarray(np.ascontiguousarray(packed[..., 3]))),
    )


def difference_hash(picture: Image.Image) -> int:
    """64 bits: whether each cell of an 8×8 grid is clearly darker than the one to its right."""
    cells = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    # flat colour is common: without a margin JPEG noise would decide its bits
    bits = np.packbits(cells[:, :-1] + HASH_MARGIN < cells[:, 1:])
    return int.from_bytes(bits.tobytes(), "big")


def thumbnail(packed: UInt8Array) -> UInt8Array:
    """S×S×4 → ``THUMB_PX``×``THUMB_PX``×4 by averaging; S is a multiple of ``THUMB_PX``."""
    block_px = len(packed) // THUMB_PX
    blocks = packed.reshape(THUMB_PX, block_px, THUMB_PX, block_px, NUM_CHANNELS)
    means: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return np.rint(means).astype(np.uint8)


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
    """Find the pairs of a group of near duplicates to drop, and why, so that it has one split.

    It stays whole in the greatest of its splits (train < val < test), and leaves the others.
    """
    kept = min(group, key=_precedence)
    reason = f"near duplicate: of {_name(kept)}"
    return {number: reason for number, pair in enumerate(group) if pair.split != kept.split}


def near_groups(
    fingerprints: Sequence[Fingerprint],
    thumbs: UInt8Array,
    *,
    thumb_numbers: Sequence[int],
    max_distance: int,
) -> list[list[int]]:
    """Group the pairs that are nearly the same; groups of one are left out.

    ``thumbs`` is M×``THUMB_PX``×``THUMB_PX``×4, may be memory-mapped; ``thumb_numbers`` gives the
    index in it of each fingerprint's. ``max_distance`` is in bits of each 64-bit hash. Two hashes
    within d bits agree wholly in one of d + 1 bands, so only pairs that share a band of both hashes
    are compared.
    """
    hashes = np.array(
        [(each.colour_hash, each.sketch_hash) for each in fingerprints], np.uint64
    ).reshape(-1, 2)
    bands = [_bands(hashes[:, half], max_distance + 1) for half in (0, 1)]
    where = np.array(thumb_numbers, np.int64)
    groups = _Groups(len(fingerprints))
    for table in np.ndindex(max_distance + 1, max_distance + 1):
        for same in _same_bands(bands[0][table[0]], bands[1][table[1]]):
            for position, first in enumerate(same[:-1]):
                others = same[position + 1 :]
                distances = np.bitwise_count(hashes[others] ^ hashes[first])
                others = others[(distances <= max_distance).all(axis=1)]
                others = others[_not_compared_before(bands, table, first, others)]
                others = others[_look_alike(thumbs[where[first]], thumbs[where[others]])]
                for other in others:
                    groups.join(int(first), int(other))
    return groups.of_many()


class _Groups:
    """Disjoint sets (union-find)."""

    def __init__(self, num_items: int) -> None:
        self._parents = list(range(num_items))

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self._root(first), self._root(second)))
        self._parents[high] = low

    def of_many(self) -> list[list[int]]:
        members: defaultdict[int, list[int]] = defaultdict(list)
        for item in range(len(self._parents)):
            members[self._root(item)].append(item)
        return [group for group in members.values() if len(group) > 1]

    def _root(self, item: int) -> int:
        while self._parents[item] != item:
            self._parents[item] = self._parents[self._parents[item]]
            item = self._parents[item]
        return item


def _precedence(pair: SplitPair) -> tuple[int, str]:
    return -SPLIT_RANK[pair.split], pair.id


def _name(pair: SplitPair) -> str:
    return f"{pair.id!r} in {pair.split}"


def _bands(hashes: UInt64Array, num_bands: int) -> Int64Array:
    """Cut N hashes into bands → num_bands×N labels, equal where the band's bits are."""
    edges = np.linspace(0, HASH_BITS, num_bands + 1).astype(int)
    labels = []
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high)) - (1 << int(low)))
        labels.append(np.unique(hashes & mask, return_inverse=True)[1])
    return np.array(labels, np.int64)


def _same_bands(colour_band: Int64Array, sketch_band: Int64Array) -> Iterator[Int64Array]:
    """Yield the numbers of those that share both bands, two or more at a time, ascending."""
    keys = colour_band * len(colour_band) + sketch_band
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    for same in np.split(order, cuts):
        if len(same) > 1:
            yield same


def _not_compared_before(
    bands: Sequence[Int64Array], table: Sequence[int], first: np.int64, others: Int64Array
) -> npt.NDArray[np.bool_]:
    """Which ``others`` share no earlier table with ``first``, so that none is compared twice."""
    shared = [(labels[:, others] == labels[:, [first]]).argmax(axis=0) for labels in bands]
    is_first: npt.NDArray[np.bool_] = (shared[0] == table[0]) & (shared[1] == table[1])
    return is_first


def _look_alike(thumb: UInt8Array, others: UInt8Array) -> npt.NDArray[np.bool_]:
    difference = np.abs(others.astype(np.int16) - thumb.astype(np.int16))
    channel_means = difference.mean(axis=(1, 2))
    is_alike: npt.NDArray[np.bool_] = (channel_means <= MAX_MEAN_DIFFERENCE).all(axis=1) & (
        difference <= MAX_CELL_DIFFERENCE
    ).all(axis=(1, 2, 3))
    return is_alike
