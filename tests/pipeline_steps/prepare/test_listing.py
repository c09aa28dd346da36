"""Folders of unknown names are told apart by their pictures, or refused with the names to give."""

import io
import zipfile

import pytest

from pipeline_steps.base.errors import DataError
from pipeline_steps.prepare.listing import list_pairs
from pipeline_steps.prepare.pairing import Listing
from tests.colorizer.drawing import png
from tests.pipeline_steps.download.archive_bytes import zip_of
from tests.pipeline_steps.prepare.drawn_halves import draw_halves, pair_png

MAX_PIXELS = 1_000_000


def folders(
    sketches: str,
    colours: str,
    numbers: range = range(6),
    *,
    suffixes: tuple[str, str] = (".png", ".png"),
) -> dict[str, bytes]:
    """A folder of colour pictures and one of their sketches; ``suffixes`` in this order."""
    members = {}
    for number in numbers:
        colour, sketch = draw_halves(number)
        members[f"{colours}/{number}{suffixes[0]}"] = png(colour)
        members[f"{sketches}/{number}{suffixes[1]}"] = png(sketch)
    return members


def listed(members: dict[str, bytes]) -> Listing:
    with zipfile.ZipFile(io.BytesIO(zip_of(members))) as archive:
        return list_pairs(archive, MAX_PIXELS)


def sides(listing: Listing) -> set[tuple[str, str]]:
    """The folders of colour pictures and of sketches, of all pairs."""
    return {
        (pair.member.path.split("/")[0], (pair.sketch_member or pair.member).path.split("/")[0])
        for pair in listing.pairs
    }


@pytest.mark.parametrize(
    ("sketches", "colours"),
    [("A", "B"), ("B", "A"), ("線画", "着色"), ("1_in", "2_out"), ("sketch", "images")],
)
def test_the_folder_with_ink_on_paper_holds_the_sketches(sketches: str, colours: str) -> None:
    listing = listed(folders(sketches, colours))
    assert len(listing.pairs) == 6
    assert sides(listing) == {(colours, sketches)}


def test_folders_may_carry_their_split_in_their_names() -> None:
    members = folders("trainA", "trainB") | folders("testA", "testB", range(6, 9))
    listing = listed(members)
    assert sides(listing) == {("trainB", "trainA"), ("testB", "testA")}
    splits = [pair.split for pair in listing.pairs]
    assert (splits.count("train"), splits.count("test")) == (6, 3)


def test_known_words_with_a_split_need_no_look_at_the_pictures() -> None:
    names = ["train_sketch", "train_colour", "val_sketch", "val_colour"]
    listing = listed({f"{name}/1.png": b"unreadable" for name in names})
    assert sides(listing) == {("train_colour", "train_sketch"), ("val_colour", "val_sketch")}


def test_the_files_of_a_pair_may_have_other_suffixes() -> None:
    members = folders("A", "B", suffixes=(".PNG", ".bmp"))
    listing = listed(members)
    assert len(listing.pairs) == 6
    assert sides(listing) == {("B", "A")}


def test_folders_of_pictures_side_by_side_are_no_siblings() -> None:
    members = {
        f"{folder}/{number}.png": pair_png(number + offset)
        for folder, offset in (("a", 0), ("b", 100))
        for number in range(6)
    }
    listing = listed(members)
    assert len(listing.pairs) == 12
    assert all(pair.sketch_member is None for pair in listing.pairs)


def test_siblings_without_sketches_are_refused_with_the_names_to_give() -> None:
    members = {
        f"{folder}/{number}.png": png(draw_halves(number + offset)[0])
        for folder, offset in (("a", 0), ("b", 100))
        for number in range(6)
    }
    with pytest.raises(DataError, match=r"folders a and b .* name these colour and sketch"):
        listed(members)


def test_folders_whose_names_do_not_match_are_refused_with_their_pattern() -> None:
    members = {f"colour/x{k}a.png": b"" for k in range(2)} | {"sketch/first.png": b""}
    with pytest.raises(DataError, match=r"named 'x0a', 'x1a', sketches 'first'; give the two"):
        listed(members)


def test_an_archive_inside_the_archive_is_called_one() -> None:
    (leftover,) = listed({"more.zip": b"", "1.png": b""}).leftovers
    assert leftover.reason.startswith("an archive inside the archive")
