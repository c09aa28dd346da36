"""Two folders of any names whose pictures have equal names: perhaps colour pictures and sketches.

A folder may carry its split in its name, as ``trainA`` and ``testB`` do. By names alone it can't be
told which is which, nor whether they are parallel at all: :mod:`sketch_side` looks at the pictures.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline_steps.prepare.name_matching import match_names
from pipeline_steps.prepare.pairing import (
    COLOUR_FOLDERS,
    SKETCH_FOLDERS,
    SPLIT_FOLDERS,
    InnerFolders,
    Listing,
    SideFolder,
    Split,
)

MIN_MATCHED_SHARE = 0.5
"""Of the pictures of the smaller folder, that have a partner in the other."""
_SPLIT_IN_NAME = re.compile(rf"^({'|'.join(SPLIT_FOLDERS)})[-_ .]*(.+)$")
_SPLIT_AT_END = re.compile(rf"^(.+?)[-_ .]+({'|'.join(SPLIT_FOLDERS)})$")


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """Two folders, or two of each split, in lower case."""

    labels: tuple[str, str]
    """What tells them apart, such as ``a`` and ``b``."""
    folders: Mapping[str, tuple[str, Split | None]]
    """Label and split of each folder's name."""

    def as_sides(self, sketches: str) -> dict[str, SideFolder]:
        """What the folders hold if the label ``sketches`` is that of the sketches."""
        return {
            name: SideFolder("sketch" if label == sketches else "colour", split)
            for name, (label, split) in self.folders.items()
        }

    @property
    def known_sketches(self) -> str | None:
        """The label of the sketches, if the labels say so."""
        for sketches, colours in (self.labels, self.labels[::-1]):
            if sketches in SKETCH_FOLDERS and colours in COLOUR_FOLDERS:
                return sketches
        return None


def find_siblings(listing: Listing) -> Siblings | None:
    """Find two sibling folders among those of the side-by-side pictures that a listing has."""
    paths = [pair.member.path for pair in listing.pairs if pair.sketch_member is None]
    # of pictures whose stems are equal only one is listed
    paths += [each.member.path for each in listing.leftovers if each.reason.startswith("duplicate")]
    folders = InnerFolders(paths)
    for level in range(max(map(len, folders), default=0)):
        siblings = _siblings_at(level, paths, folders)
        if siblings:
            return siblings
    return None


def _siblings_at(
    level: int, paths: Sequence[str], folders: Sequence[Sequence[str]]
) -> Siblings | None:
    names = {each[level].lower() for each in folders if len(each) > level}
    known = {name: _label_and_split(name) for name in names if name not in SPLIT_FOLDERS}
    labels = sorted({label for label, _ in known.values()})
    if len(labels) != 2 or names - known.keys():
        return None
    keys: dict[str, set[str]] = {label: set() for label in labels}
    for path, own in zip(paths, folders, strict=True):
        if len(own) <= level:
            return None
        label, split = known[own[level].lower()]
        rest = [split or "", *own[:level], *own[level + 1 :], PurePosixPath(path).stem]
        keys[label].add("/".join(rest))
    first, second = keys.values()
    if len(match_names(first, second)) < MIN_MATCHED_SHARE * min(len(first), len(second)):
        return None
    return Siblings(labels=(labels[0], labels[1]), folders=known)


def _label_and_split(name: str) -> tuple[str, Split | None]:
    """``traina`` → ``a``, train; ``lines_val`` → ``lines``, val; any other name is its label."""
    if match := _SPLIT_IN_NAME.match(name):
        return match[2], SPLIT_FOLDERS[match[1]]
    if match := _SPLIT_AT_END.match(name):
        return match[1], SPLIT_FOLDERS[match[2]]
    return name, None
