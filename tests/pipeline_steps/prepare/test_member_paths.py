"""Backslashes separate folders in zips made on Windows, but not inside a Shift-JIS character."""

import io
import zipfile

import pytest

from pipeline_steps.prepare.member_paths import member_paths
from pipeline_steps.prepare.pairing import find_pairs


def directory_of(*names: bytes) -> list[zipfile.ZipInfo]:
    """The directory of a zip whose names are these bytes, without the mark of UTF-8."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo("?" * len(name)), b"")
    content = file.getvalue()
    for name in names:  # in the member's header, then in the directory, in order
        content = content.replace(b"?" * len(name), name, 1)
        directory = content.rindex(b"PK\x05\x06")
        place = content.index(b"?" * len(name), content.index(b"PK\x01\x02"), directory)
        content = content[:place] + name + content[place + len(name) :]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.infolist()


def test_backslashes_are_folders_where_no_name_has_a_slash() -> None:
    members = directory_of(b"data\\train\\1.png", b"data\\val\\2.png")
    paths = list(member_paths(members))
    assert paths == ["data/train/1.png", "data/val/2.png"]
    listing = find_pairs([member.filename for member in members], paths)
    assert {pair.id: pair.split for pair in listing.pairs} == {"1": "train", "2": "test"}
    assert {pair.member.name for pair in listing.pairs} == {
        "data\\train\\1.png",
        "data\\val\\2.png",
    }


def test_where_names_have_slashes_a_backslash_is_a_character() -> None:
    names = [b"train/a\\b.png", b"train/c.png"]
    assert list(member_paths(directory_of(*names))) == ["train/a\\b.png", "train/c.png"]


@pytest.mark.parametrize("text", ["表", "ソ", "能力", "予定表"])
def test_a_shift_jis_character_that_holds_a_backslash_stays_whole(text: str) -> None:
    raw = text.encode("cp932")
    (slashes,) = member_paths(directory_of(b"train/" + raw + b".png"))
    assert slashes == (b"train/" + raw + b".png").decode("cp437")
    (backslashes,) = member_paths(directory_of(b"train\\" + raw + b"\\" + raw + b".png"))
    assert backslashes == (b"train/" + raw + b"/" + raw + b".png").decode("cp437")


def test_names_in_neither_ascii_nor_shift_jis_are_separated_everywhere() -> None:
    raw = "Größe".encode("cp850")
    (path,) = member_paths(directory_of(b"train\\" + raw + b"\\\xff.png"))
    assert path == (b"train/" + raw + b"/\xff.png").decode("cp437")


def test_names_marked_as_utf8_are_separated() -> None:
    member = zipfile.ZipInfo("train\\線画.png")
    member.flag_bits = 0x800
    assert list(member_paths([member])) == ["train/線画.png"]
