"""A zip that is opened by its index reads as zipfile reads it, whatever its directory holds."""

import io
import zipfile
from pathlib import Path

import pytest

from pipeline_steps.prepare.archive_index import index_archive


def write_zip(path: Path, *, in_front: bytes = b"", comment: bytes = b"") -> None:
    """Members of both kinds, an odd name, one that occurs twice, and a folder."""
    file = io.BytesIO(in_front)
    file.seek(len(in_front))
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        archive.mkdir("folder")
        archive.writestr("folder/é表.png", b"first" * 100, zipfile.ZIP_DEFLATED)
        archive.writestr("stored.png", b"second")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("stored.png", b"third")
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize(
    ("in_front", "comment"), [(b"", b""), (b"a program", b""), (b"", b"made by hand")]
)
def test_members_and_their_bytes_are_those_of_the_zip(
    tmp_path: Path, in_front: bytes, comment: bytes
) -> None:
    path = tmp_path / "pairs.zip"
    write_zip(path, in_front=in_front, comment=comment)
    indexed = index_archive(path, tmp_path)
    with zipfile.ZipFile(path) as archive, indexed.open() as opened:
        assert opened.namelist() == archive.namelist()
        for own, other in zip(opened.infolist(), archive.infolist(), strict=True):
            assert opened.read(own) == archive.read(other)


def test_a_damaged_member_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "pairs.zip"
    write_zip(path)
    path.write_bytes(path.read_bytes().replace(b"second", b"2econd"))
    with index_archive(path, tmp_path).open() as opened:
        damaged = opened.infolist()[2]
        with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
            opened.read(damaged)


def test_a_damaged_directory_is_refused_as_zipfile_refuses_it(tmp_path: Path) -> None:
    path = tmp_path / "pairs.zip"
    write_zip(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(zipfile.BadZipFile, match="not a zip file"):
        index_archive(path, tmp_path)
