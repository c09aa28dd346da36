"""Which members of an archive make pairs, by their names alone.

Three layouts, which may be mixed; the root folder is found:

    train/x.png, val/x.png, test/x.png      colour and sketch side by side in one picture
    x.png, some/folder/x.png                the same without splits
    colour/x.png, sketch/x.png              two parallel folders, above or below the splits or alone

Names of parallel folders match as :mod:`name_matching` says; folders of other names are told to be
parallel by ``side_folders``.

An id is a member's path without the root (the folders that all pictures share), the split folder,
the colour or sketch folder, and the suffix. When splits number their pictures alike, ids of val
and test get their split in front (``test/1``), so that a training id never changes. Of two members
that still have one id the first by name is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from pipeline_steps.prepare.name_matching import match_names
from pipeline_steps.prepare.records import Codec

Split = Literal["train", "val", "test"]
Side = Literal["colour", "sketch"]
Verdict = Literal["accepted", "rejected", "ignored"]

PICTURE_SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff")
) | {".gif"}
ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"))
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


_SplitKey = tuple[Split | None, str]


class Member(NamedTuple):
    """A file of the archive: its position in the directory, its name, and its path."""

    position: int
    name: str
    path: str
    """The name with ``/`` between folders."""


@dataclass(frozen=True, kw_only=True, slots=True)
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

    pairs: Sequence[ListedPair]
    """Sorted by id, all different."""
    leftovers: Sequence[Leftover]
    has_val: bool
    """The archive has a val set of its own."""
    has_test: bool
    val_is_test: bool
    """The archive's ``val`` became the test set."""
    unmatched: dict[Side, list[str]]
    """Names, without suffix, of colour pictures and sketches without a partner."""


def _encode_pair(pair: ListedPair) -> list[Any]:
    return [pair.id, pair.split, pair.member, pair.sketch_member]


def _decode_pair(values: list[Any]) -> ListedPair:
    id, split, member, sketch = values
    return ListedPair(
        id=id,
        split=split,
        member=Member(*member),
        sketch_member=Member(*sketch) if sketch else None,
    )


def _decode_leftover(values: list[Any]) -> Leftover:
    member, verdict, reason = values
    return Leftover(Member(*member), verdict, reason)


LISTED_PAIR = Codec(_encode_pair, _decode_pair)
LEFTOVER: Codec[Leftover] = Codec(list, _decode_leftover)


class SideFolder(NamedTuple):
    """What a folder of one side holds."""

    side: Side
    split: Split | None
    """None where other folders say it."""


KNOWN_SIDE_FOLDERS = {name: SideFolder("sketch", None) for name in SKETCH_FOLDERS} | {
    name: SideFolder("colour", None) for name in COLOUR_FOLDERS
}


def find_pairs(
    names: Sequence[str],
    paths: Sequence[str] | None = None,
    side_folders: Mapping[str, SideFolder] | None = None,
) -> Listing:
    """Sort the members of an archive into pairs and leftovers.

    ``names`` are all names of the archive's directory, in its order; ``paths`` are the same with
    ``/`` between folders, if they differ; folders end in ``/``. ``side_folders`` says by
    names in lower case which folders are parallel, by default those with known names.
    """
    members = (
        Member(i, name, path)
        for i, (name, path) in enumerate(zip(names, paths or names, strict=True))
        if not path.endswith("/")
    )
    leftovers: list[Leftover] = []
    pictures = _pictures(members, leftovers)
    places = _places(pictures, side_folders)
    unmatched: dict[Side, list[str]] = {"colour": [], "sketch": []}
    pairs = _pair_up(places, leftovers, unmatched)
    splits = {pair.split for pair in pairs}
    pairs = [_with_archive_split(pair, splits) for pair in pairs]
    return Listing(
        pairs=_with_unique_ids(pairs, leftovers),
        leftovers=leftovers,
        has_val={"val", "test"} <= splits,
        has_test=bool({"val", "test"} & splits),
        val_is_test="val" in splits and "test" not in splits,
        unmatched=unmatched,
    )


class _Place(NamedTuple):
    """A picture, and its key, split and side according to its path."""

    member: Member
    key: str
    """The path without root, split folder, side folder and suffix."""
    split: Split | None
    side: Side | None


def _pictures(members: Iterable[Member], leftovers: list[Leftover]) -> list[Member]:
    pictures: dict[str, Member] = {}
    for member in members:
        reason = _why_ignored(member.path)
        if reason:
            leftovers.append(Leftover(member, "ignored", reason))
        elif member.path.startswith("/") or ".." in member.path.split("/"):
            leftovers.append(Leftover(member, "rejected", "unsafe name"))
        elif member.path in pictures:
            leftovers.append(Leftover(member, "rejected", "name occurs twice in the archive"))
        else:
            pictures[member.path] = member
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
        if PurePosixPath(file_name).suffix in ARCHIVE_SUFFIXES:
            return "an archive inside the archive, which isn't read: unpack it first"
        if "colorgram" in folders and file_name.endswith(".json"):
            return "a list of a picture's colours (colorgram), which isn't used"
        return "not a picture by its name"
    return None


def _places(
    pictures: Sequence[Member], side_folders: Mapping[str, SideFolder] | None
) -> Iterator[_Place]:
    folders = InnerFolders([member.path for member in pictures])
    if side_folders is None:
        inner = {folder.lower() for path in folders for folder in path}
        is_parallel = bool(inner & SKETCH_FOLDERS) and bool(inner & COLOUR_FOLDERS)
        side_folders = KNOWN_SIDE_FOLDERS if is_parallel else {}
    for member, path in zip(pictures, folders, strict=True):
        yield _place(member, path, side_folders)


class InnerFolders(Sequence[list[str]]):
    """The folders of each path below the root, which is what all paths share; made when read."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._depth = _shared_depth(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: Any) -> Any:
        return _folders(self._paths[number])[self._depth :]


def _folders(path: str) -> list[str]:
    return path.split("/")[:-1]


def _shared_depth(paths: Sequence[str]) -> int:
    """Count the leading folders that all paths share."""
    depth = 0
    # what the first and the last path share in sorted order, all share
    if paths:
        first, last = min(map(_folders, paths)), max(map(_folders, paths))
        for least, greatest in zip(first, last, strict=False):
            if least != greatest:
                break
            depth += 1
    return depth


def _place(member: Member, folders: list[str], side_folders: Mapping[str, SideFolder]) -> _Place:
    split: Split | None = None
    side: Side | None = None
    key: list[str] = []
    for folder in folders:
        name = folder.lower()
        if split is None and name in SPLIT_FOLDERS:
            split = SPLIT_FOLDERS[name]
        elif side is None and name in side_folders:
            side = side_folders[name].side
            split = split or side_folders[name].split
        else:
            key.append(folder)
    return _Place(member, "/".join([*key, PurePosixPath(member.path).stem]), split, side)


def _pair_up(
    places: Iterable[_Place], leftovers: list[Leftover], unmatched: dict[Side, list[str]]
) -> list[ListedPair]:
    pairs: list[ListedPair] = []
    sides: dict[Side, list[_Place]] = {"colour": [], "sketch": []}
    for place in places:
        if place.side:
            sides[place.side].append(place)
        else:
            pairs.append(
                ListedPair(id=place.key, split=place.split, member=place.member, sketch_member=None)
            )
    colours, sketches = _by_key(sides["colour"], leftovers), _by_key(sides["sketch"], leftovers)
    partners = _partners(colours, sketches)
    for key, colour in colours.items():
        if key not in partners:
            leftovers.append(Leftover(colour.member, "rejected", "no sketch of this name"))
            unmatched["colour"].append(colour.key)
            continue
        pairs.append(
            ListedPair(
                id=colour.key,
                split=colour.split,
                member=colour.member,
                sketch_member=sketches[partners[key]].member,
            )
        )
    used = set(partners.values())
    for key, sketch in sketches.items():
        if key not in used:
            leftovers.append(Leftover(sketch.member, "rejected", "no colour picture of this name"))
            unmatched["sketch"].append(sketch.key)
    return pairs


def _partners(
    colours: Mapping[_SplitKey, _Place], sketches: Mapping[_SplitKey, _Place]
) -> dict[_SplitKey, _SplitKey]:
    """The sketch of each colour picture that has one, in the same split."""
    partners: dict[_SplitKey, _SplitKey] = {}
    for split in {split for split, _ in colours}:
        names, others = ([key for own, key in each if own == split] for each in (colours, sketches))
        for name, other in match_names(names, others).items():
            partners[split, name] = (split, other)
    return partners


def _by_key(places: Sequence[_Place], leftovers: list[Leftover]) -> dict[_SplitKey, _Place]:
    by_key: dict[_SplitKey, _Place] = {}
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


def _with_unique_ids(pairs: list[ListedPair], leftovers: list[Leftover]) -> list[ListedPair]:
    """Sort pairs by id, all different; what comes first by name is kept."""
    pairs.sort(key=attrgetter("id"))
    pairs = [pair for _, group in groupby(pairs, attrgetter("id")) for pair in _by_split(group)]
    pairs.sort(key=_by_id_and_name)
    unique: list[ListedPair] = []
    for pair in pairs:
        if not unique or unique[-1].id != pair.id:
            unique.append(pair)
            continue
        reason = f"duplicate id: as {unique[-1].member.name!r}"
        leftovers.extend(
            Leftover(member, "rejected", reason)
            for member in (pair.member, pair.sketch_member)
            if member
        )
    return unique


def _by_id_and_name(pair: ListedPair) -> tuple[str, bool, str]:
    return pair.id, pair.sketch_member is not None, pair.member.path


def _by_split(group: Iterable[ListedPair]) -> list[ListedPair]:
    """Pairs of one id, with their split in it if that is what tells them apart."""
    pairs = list(group)
    if len({pair.split or "train" for pair in pairs}) == 1:
        return pairs
    return [
        replace(pair, id=f"{pair.split}/{pair.id}") if pair.split in ("val", "test") else pair
        for pair in pairs
    ]
