"""The directory read in parts is zipfile's, of archives of any form."""

import zipfile
from pathlib import Path

import pytest

from pipeline_steps.prepare import zip_directory
from pipeline_steps.prepare.zip_directory import read_members


@pytest.fixture(params=["zip", "zip64"])
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven members, read two at a time."""
    monkeypatch.setattr(zip_directory, "MEMBERS_AT_ONCE", 2)
    if request.param == "zip64":
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = tmp_path / "pairs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(7):
            member = zipfile.ZipInfo(f"{number} 表.png")
            member.comment = b"PK\5\6" * number
            archive.writestr(member, b"pixels" * number)
    assert (b"PK\6\7" in path.read_bytes()) == (request.param == "zip64")
    return path


def fields_of(member: zipfile.ZipInfo) -> dict[str, object]:
    # newer zipfiles note where the next member begins, which the last of a part isn't told
    names = set(zipfile.ZipInfo.__slots__) - {"_end_offset"}
    return {name: getattr(member, name, None) for name in names}


def assert_as_zipfile_reads_it(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        expected = [fields_of(member) for member in archive.infolist()]
    assert [fields_of(member) for member in read_members(path)] == expected


def test_parts_join_to_the_whole_directory(path: Path) -> None:
    assert_as_zipfile_reads_it(path)


def test_so_they_do_with_a_comment_or_something_in_front(path: Path) -> None:
    path.write_bytes(b"a program" + path.read_bytes())
    assert_as_zipfile_reads_it(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
    assert_as_zipfile_reads_it(path)


def test_an_archive_without_members_has_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert list(read_members(tmp_path / "empty.zip")) == []


@pytest.mark.parametrize("number", [0, 3, 6])
def test_damage_is_told_in_zipfiles_words(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    for _ in range(number):
        entry = content.index(b"PK\1\2", entry + 1)
    content[entry] ^= 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile) as expected:
        zipfile.ZipFile(path)
    with pytest.raises(zipfile.BadZipFile, match=str(expected.value)):
        list(read_members(path))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK", b"x" * 200):
        (tmp_path / "no.zip").write_bytes(content)
        with pytest.raises(zipfile.BadZipFile, match="not a zip file"):
            list(read_members(tmp_path / "no.zip"))
