"""Which members of an archive make pairs, by their names alone.

Three layouts, which may be mixed; the root folder is found:

    train/x.png, val/x.png, test/x.png      colour and sketch side by side in one picture
    x.png, some/folder/x.png                the same without splits
    colour/x.png, sketch/x.png              two parallel folders, above or below the splits or alone

An id is a member's path without the root (the folders that all pictures share), the split folder,
the colour or sketch folder, and the suffix. When splits number their pictures alike, ids of val
and test get their split in front (``test/1``), so that a training id never changes. Of two members
that still have one id the first by name is kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

Split = Literal["train", "val", "test"]
Verdict = Literal["accepted", "rejected", "ignored"]

PICTURE_SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff")
) | {".gif"}
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
SKETCH_FOLDERS = frozenset(("sketch", "sketches", "line", "lines", "lineart"))
COLOUR_FOLDERS = frozenset(("colour", "colours", "color", "colors", "colored", "coloured"))

_SYSTEM_FOLDERS = frozenset(("__macosx", "@eadir", ".git", ".ipynb_checkpoints"))
_SYSTEM_FILES = frozenset((".ds_store", "thumbs.db", "desktop.ini"))


class Member(NamedTuple):
    """A file of the archive: its position in the directory, and its name."""

    position: int
    name: str


@dataclass(frozen=True, kw_only=True)
class ListedPair:
    """A pair by its names; its pictures are not read yet."""

    id: str
    split: Split | None
    """By the archive's folders (a ``val`` alone is test); None where it has no split folders."""
    member: Member
    """The side-by-side picture, or the colour picture."""
    sketch_member: Member | None
    """None when ``member`` holds both halves."""


class Leftover(NamedTuple):
    """A member that makes no pair."""

    member: Member
    verdict: Verdict
    reason: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Every member of an archive, once."""

    pairs: list[ListedPair]
    """Sorted by id, all different."""
    leftovers: list[Leftover]
    has_val: bool
    """The archive has a val set of its own."""
    has_test: bool


def find_pairs(names: Sequence[str]) -> Listing:
    """Sort the members of an archive into pairs and leftovers.

    ``names`` are all names of the archive's directory, in its order; folders end in ``/``.
    """
    members = [Member(i, name) for i, name in enumerate(names) if not name.endswith("/")]
    leftovers: list[Leftover] = []
    pictures = _pictures(members, leftovers)
    places = _places(pictures)
    pairs = _pair_up(places, leftovers)
    splits = {pair.split for pair in pairs}
    pairs = [_with_archive_split(pair, splits) for pair in pairs]
    return Listing(
        pairs=_with_unique_ids(pairs, leftovers),
        leftovers=leftovers,
        has_val={"val", "test"} <= splits,
        has_test=bool({"val", "test"} & splits),
    )


class _Place(NamedTuple):
    """A picture, and its key, split and side according to its path."""

    member: Member
    key: str
    """The path without root, split folder, side folder and suffix."""
    split: Split | None
    side: Literal["colour", "sketch"] | None


def _pictures(members: Iterable[Member], leftovers: list[Leftover]) -> list[Member]:
    pictures: dict[str, Member] = {}
    for member in members:
        reason = _why_ignored(member.name)
        if reason:
            leftovers.append(Leftover(member, "ignored", reason))
        elif member.name.startswith("/") or ".." in member.name.split("/"):
            leftovers.append(Leftover(member, "rejected", "unsafe name"))
        elif member.name in pictures:
            leftovers.append(Leftover(member, "rejected", "name occurs twice in the archive"))
        else:
            pictures[member.name] = member
    return [pictures[name] for name in sorted(pictures)]


def _why_ignored(name: str) -> str | None:
    *folders, file_name = name.lower().split("/")
    if (
        file_name in _SYSTEM_FILES
        or file_name.startswith("._")
        or not _SYSTEM_FOLDERS.isdisjoint(folders)
    ):
        return "an operating system's own file"
    if PurePosixPath(file_name).suffix not in PICTURE_SUFFIXES:
        return "not a picture by its name"
    return None


def _places(pictures: Sequence[Member]) -> list[_Place]:
    folders = [member.name.split("/")[:-1] for member in pictures]
    root_depth = _shared_depth(folders)
    inner = {folder.lower() for path in folders for folder in path[root_depth:]}
    is_parallel = bool(inner & SKETCH_FOLDERS) and bool(inner & COLOUR_FOLDERS)
    return [
        _place(member, path[root_depth:], is_parallel)
        for member, path in zip(pictures, folders, strict=True)
    ]


def _shared_depth(folders: Sequence[list[str]]) -> int:
    """Count the leading folders that all paths share."""
    depth = 0
    # what the first and the last path share in sorted order, all share
    if folders:
        for least, greatest in zip(min(folders), max(folders), strict=False):
            if least != greatest:
                break
            depth += 1
    return depth


def _place(member: Member, folders: list[str], is_parallel: bool) -> _Place:
    split: Split | None = None
    side: Literal["colour", "sketch"] | None = None
    key: list[str] = []
    for folder in folders:
        name = folder.lower()
        if split is None and name in SPLIT_FOLDERS:
            split = SPLIT_FOLDERS[name]
        elif is_parallel and side is None and name in SKETCH_FOLDERS | COLOUR_FOLDERS:
            side = "sketch" if name in SKETCH_FOLDERS else "colour"
        else:
            key.append(folder)
    return _Place(member, "/".join([*key, PurePosixPath(member.name).stem]), split, side)


def _pair_up(places: Sequence[_Place], leftovers: list[Leftover]) -> list[ListedPair]:
    pairs = [
        ListedPair(id=place.key, split=place.split, member=place.member, sketch_member=None)
        for place in places
        if place.side is None
    ]
    colours = _by_key([place for place in places if place.side == "colour"], leftovers)
    sketches = _by_key([place for place in places if place.side == "sketch"], leftovers)
    for key, colour in colours.items():
        if key not in sketches:
            leftovers.append(Leftover(colour.member, "rejected", "no sketch of this name"))
            continue
        pairs.append(
            ListedPair(
                id=colour.key,
                split=colour.split,
                member=colour.member,
                sketch_member=sketches[key].member,
            )
        )
    for key, sketch in sketches.items():
        if key not in colours:
            leftovers.append(Leftover(sketch.member, "rejected", "no colour picture of this name"))
    return pairs


def _by_key(
    places: Sequence[_Place], leftovers: list[Leftover]
) -> dict[tuple[Split | None, str], _Place]:
    by_key: dict[tuple[Split | None, str], _Place] = {}
    for place in places:
        first = by_key.setdefault((place.split, place.key), place)
        if first is not place:
            leftovers.append(
                Leftover(place.member, "rejected", f"duplicate name: as {first.member.name!r}")
            )
    return by_key


def _with_archive_split(pair: ListedPair, splits: set[Split | None]) -> ListedPair:
    """A ``val`` alone is the test set: checkpoints must not be chosen by what is reported."""
    if pair.split == "val" and "test" not in splits:
        return replace(pair, split="test")
    return pair


def _with_unique_ids(pairs: Sequence[ListedPair], leftovers: list[Leftover]) -> list[ListedPair]:
    splits_of: defaultdict[str, set[Split]] = defaultdict(set)
    for pair in pairs:
        splits_of[pair.id].add(pair.split or "train")
    unique: dict[str, ListedPair] = {}
    for pair in pairs:
        if len(splits_of[pair.id]) > 1 and pair.split in ("val", "test"):
            pair = replace(pair, id=f"{pair.split}/{pair.id}")
        first = unique.setdefault(pair.id, pair)
        if first is not pair:
            reason = f"duplicate id: as {first.member.name!r}"
            leftovers.extend(
                Leftover(member, "rejected", reason)
                for member in (pair.member, pair.sketch_member)
                if member
            )
    return [unique[id] for id in sorted(unique)]
