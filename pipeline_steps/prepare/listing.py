"""The pairs of an archive, listed: by names, and where these don't tell by looking at pictures."""

import zipfile

from pipeline_steps.base.errors import DataError
from pipeline_steps.prepare.member_paths import member_paths
from pipeline_steps.prepare.name_matching import pattern_of
from pipeline_steps.prepare.pairing import Listing, find_pairs
from pipeline_steps.prepare.sibling_folders import find_siblings
from pipeline_steps.prepare.sketch_side import FOLDER_ADVICE, look_for_sketches


def list_pairs(archive: zipfile.ZipFile, max_picture_pixels: int) -> Listing:
    """Find the pairs of an archive, in parallel folders of any names too.

    Raises :class:`DataError` if parallel folders have no pair in common, or if it can't be told
    which of two holds the sketches.
    """
    names = archive.namelist()
    # a path that equals the name is the same string: a million take 80 MB
    both = zip(names, member_paths(archive.infolist()), strict=True)
    paths = [name if path == name else path for name, path in both]
    listing = find_pairs(names, paths)
    siblings = find_siblings(listing)
    if siblings is None:
        _require_matches(listing)
        return listing
    first, second = siblings.labels
    if siblings.known_sketches:
        return find_pairs(names, paths, siblings.as_sides(siblings.known_sketches))
    guess = find_pairs(names, paths, siblings.as_sides(first))
    found = look_for_sketches(archive, guess, max_picture_pixels)
    if found == "side by side":
        return listing
    if found == "unclear":
        folders = " and ".join(sorted(siblings.folders))
        raise DataError(
            f"the folders {folders} hold pictures of equal names, but it can't be told which are"
            f" sketches: neither has line art on paper beside coloured pictures; {FOLDER_ADVICE}"
        )
    return guess if found == "sketches" else find_pairs(names, paths, siblings.as_sides(second))


def _require_matches(listing: Listing) -> None:
    colours, sketches = listing.unmatched["colour"], listing.unmatched["sketch"]
    if not listing.pairs and colours and sketches:
        raise DataError(
            f"no colour picture has a sketch of its name: colour pictures are named"
            f" {pattern_of(colours)}, sketches {pattern_of(sketches)}; give the two files of a pair"
            " one name (colour/1.png, sketch/1.png): only Unicode form, case, zeros in front of"
            " numbers, and what all names of a folder share may differ"
        )
