"""Whole archives are told from broken ones."""

import io
import zipfile
from pathlib import Path

import pytest

from pipeline_steps.download.archive_check import DamageError, check_archive
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
    """The flag alone, in both headers."""
    content = bytearray(zip_of({"1.png": b"1"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.part"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (ZIP, ".zip"),
        (deflated(), ".zip"),
        (TAR, ".tar"),
        *((tar_of(PICTURES, compression=kind), f".tar.{kind}") for kind in ("gz", "bz2", "xz")),
    ],
    ids=["zip", "deflated zip", "tar", "gz", "bz2", "xz"],
)
def test_kind_of_a_whole_archive_is_told(path: Path, content: bytes, suffix: str) -> None:
    path.write_bytes(content)

    assert check_archive(path) == suffix


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not an archive</html>",
        bytes(10240),
        zip_of({}),
        flip_byte(ZIP, len(ZIP) // 2),
        flip_byte(ZIP, len(ZIP) - 7),
        ZIP[: len(ZIP) // 2],
        flip_byte(deflated(), 45),
        encrypted(),
        TAR[: FIRST_MEMBER_BYTES // 1024 * 512],
        TAR[:FIRST_MEMBER_BYTES],
        flip_byte(TAR, FIRST_MEMBER_BYTES + 5),
        *(tar_of(PICTURES, compression=kind)[:-9] for kind in ("gz", "bz2", "xz")),
        *(flip_byte(tar_of(PICTURES, compression=kind), 9000) for kind in ("gz", "bz2", "xz")),
    ],
    ids=[
        "nothing",
        "page",
        "zeros",
        "empty zip",
        "flipped zip member",
        "flipped zip directory",
        "cut zip",
        "flipped deflated member",
        "encrypted zip",
        "tar cut in a member",
        "tar cut between members",
        "flipped tar header",
        *(f"cut {kind}" for kind in ("gz", "bz2", "xz")),
        *(f"flipped {kind}" for kind in ("gz", "bz2", "xz")),
    ],
)
def test_what_is_no_whole_archive_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(DamageError):
        check_archive(path)


def test_disk_failure_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_archive(tmp_path / "missing")
