"""Damaged archives are detected by their structure, without reading members."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive import repack_tar
from pipeline_steps.download.archive_check import DamageError, check_archive
from pipeline_steps.download.archive_limits import DEFAULT_LIMITS
from tests.pipeline_steps.download.archive_bytes import flip_byte, noise, tar_of, zip_of

PICTURES = {"train/1.png": noise(90_000), "val/2.png": noise(60_000)}
ZIP, TAR = zip_of(PICTURES), tar_of(PICTURES)
TAR_HEADER_BYTES = 512
FIRST_MEMBER_BYTES = TAR_HEADER_BYTES + 90_112
"""Its header and its content, in blocks of 512."""


def deflated() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.txt", b"a text " * 10_000)
    return file.getvalue()


def encrypted() -> bytes:
    """Only the encryption flag, in both headers."""
    content = bytearray(zip_of({"1.png": b"1"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def nameless() -> bytes:
    """A member whose name is empty, of which zipfile can't say whether it's a folder."""
    file = io.BytesIO(zip_of(PICTURES))
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = ""
        archive.writestr(entry, b"1")
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.part"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (ZIP, ".zip"),
        (deflated(), ".zip"),
        (nameless(), ".zip"),
        (TAR, ".tar"),
        *((tar_of(PICTURES, compression=kind), f".tar.{kind}") for kind in ("gz", "bz2", "xz")),
    ],
    ids=["zip", "deflated zip", "zip with a member without a name", "tar", "gz", "bz2", "xz"],
)
def test_suffix_names_the_kind(path: Path, content: bytes, suffix: str) -> None:
    path.write_bytes(content)

    assert check_archive(path) == suffix


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not an archive</html>",
        bytes(10240),
        zip_of({}),
        flip_byte(ZIP, len(ZIP) - 7),
        ZIP[: ZIP.index(b"PK\x01\x02") - 10] + ZIP[ZIP.index(b"PK\x01\x02") :],
        ZIP[: len(ZIP) // 2],
        ZIP[:-30],
        flip_byte(TAR, 5),
    ],
    ids=[
        "nothing",
        "page",
        "zeros",
        "empty zip",
        "flipped position of the zip's directory",
        "bytes lost before the zip's directory",
        "half a zip",
        "zip without its end",
        "flipped first tar header",
    ],
)
def test_damaged_structure_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(DamageError):
        check_archive(path)


def test_encrypted_zip_is_refused(path: Path) -> None:
    path.write_bytes(encrypted())

    with pytest.raises(SourceError, match="encrypted"):
        check_archive(path)


@pytest.mark.parametrize("limits", [{"members": 1}, {"unpacked_bytes": 149_999}])
def test_zip_over_the_limits_is_refused(path: Path, limits: dict[str, int]) -> None:
    path.write_bytes(ZIP)
    check_archive(path, replace(DEFAULT_LIMITS, members=2, unpacked_bytes=150_000))

    with pytest.raises(SourceError, match="more than"):
        check_archive(path, replace(DEFAULT_LIMITS, **limits))


def test_zip_with_one_damaged_member_header_is_accepted(path: Path) -> None:
    path.write_bytes(flip_byte(ZIP, 3))

    assert check_archive(path) == ".zip"


@pytest.mark.parametrize(
    "content",
    [
        TAR[: FIRST_MEMBER_BYTES // 1024 * 512],
        TAR[:FIRST_MEMBER_BYTES],
        flip_byte(TAR, FIRST_MEMBER_BYTES + 5),
        TAR[:FIRST_MEMBER_BYTES] + bytes(512) + TAR[FIRST_MEMBER_BYTES + 512 :],
        *(tar_of(PICTURES, compression=kind)[:-9] for kind in ("gz", "bz2", "xz")),
        *(flip_byte(tar_of(PICTURES, compression=kind), 9000) for kind in ("gz", "bz2", "xz")),
    ],
    ids=[
        "cut in a member",
        "cut between members",
        "flipped header",
        "header of zeros",
        *(f"cut {kind}" for kind in ("gz", "bz2", "xz")),
        *(f"flipped {kind}" for kind in ("gz", "bz2", "xz")),
    ],
)
def test_damaged_tar_is_refused_with_the_position_while_it_is_repacked(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)

    with pytest.raises(DamageError, match=r"its first header|member '(train/1|val/2)\.png'"):
        repack_tar(path, path.with_suffix(".zip"))
    assert not path.with_suffix(".zip").exists()


def test_disk_failure_is_not_reported_as_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_archive(tmp_path / "missing")
