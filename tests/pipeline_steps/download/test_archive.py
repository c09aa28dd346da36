import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.archive import content_sha256, is_inside, repack_tar, take_archive
from tests.pipeline_steps.download.archive_bytes import bytes_read

FILES = {"train/a.png": b"first", "train/b.png": b"second", "val/c.png": b"third"}


def write_folder(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2", "folder"])
def test_every_kind_of_source_is_packed_into_the_same_zip(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        source = write_folder(tmp_path / "pairs")
    elif kind == "zip":
        source = write_zip(tmp_path / "pairs.zip")
    else:
        compression = kind.partition(".")[2]
        source = write_tar(tmp_path / f"pairs.{kind}", f"w:{compression}" if compression else "w")
    taken = take_archive(source, tmp_path / "out.zip")
    assert contents(tmp_path / "out.zip") == FILES
    assert taken.kind == kind.partition(".")[0]
    assert taken.members == 3
    assert taken.sha256 == content_sha256(source)
    assert taken.pairs_zip_sha256 == content_sha256(tmp_path / "out.zip")


def test_a_packed_folder_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = write_folder(tmp_path / name)
        os.utime(folder / "val/c.png", (0, 0) if name == "one" else None)
        take_archive(folder, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_source_is_read_once(tmp_path: Path, kind: str) -> None:
    (tmp_path / "pairs").mkdir()
    for number in range(4):
        (tmp_path / f"pairs/{number}.png").write_bytes(os.urandom(1 << 20))
    source = tmp_path / "pairs"
    if kind == "zip":
        take_archive(source, tmp_path / "source.zip")
        source = tmp_path / "source.zip"
    before = bytes_read()
    taken = take_archive(source, tmp_path / "out.zip")
    # the zip that a folder is packed into is hashed afterwards
    num_reads = 1 if kind == "zip" else 2
    assert num_reads <= (bytes_read() - before) / taken.bytes < num_reads + 0.1


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_a_change_in_a_folder_is_detected(tmp_path: Path, change: str) -> None:
    folder = write_folder(tmp_path / "pairs")
    before = content_sha256(folder)
    if change == "content":
        (folder / "val/c.png").write_bytes(b"other")
    elif change == "name":
        (folder / "val/c.png").rename(folder / "val/d.png")
    else:
        (folder / "new.png").write_bytes(b"new")
    assert content_sha256(folder) != before


def links(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        return {each.filename for each in entries if stat.S_ISLNK(each.external_attr >> 16)}


def test_links_of_a_folder_are_named_but_not_followed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pairs")
    (tmp_path / "secret").write_text("secret")
    (folder / "link.png").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    (folder / ".DS_Store").write_text("")
    taken = take_archive(folder, tmp_path / "out.zip")
    names = {"link.png", "linked", "dangling.png"}
    assert contents(tmp_path / "out.zip") == FILES | dict.fromkeys(names, b"")
    assert links(tmp_path / "out.zip") == names
    assert (taken.members, taken.links) == (3, 3)


def test_a_folder_of_links_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs/1.png").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="no files, and 1 links, which are not followed"):
        take_archive(tmp_path / "pairs", tmp_path / "out.zip")


def test_devices_and_unsafe_names_of_a_tar_are_not_packed_and_links_not_followed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("device.png", tarfile.CHRTYPE),
            ("../outside.png", tarfile.REGTYPE),
            ("/absolute.png", tarfile.REGTYPE),
            ("good.png", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO(b""))
    assert repack_tar(path, tmp_path / "out.zip") == (1, 1)
    assert set(contents(tmp_path / "out.zip")) == {"good.png", "link.png"}
    assert links(tmp_path / "out.zip") == {"link.png"}


def encrypted_zip(path: Path) -> None:
    write_zip(path)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + offset] |= 1
    path.write_bytes(content)


def test_a_file_that_is_not_an_archive_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("text")
    whole = write_zip(tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    packed = write_tar(tmp_path / "whole.tar.gz", "w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "empty").mkdir()
    encrypted_zip(tmp_path / "encrypted.zip")
    for name in ("text.zip", "cut.zip", "cut.tar.gz", "empty", "encrypted.zip", "nowhere.zip"):
        with pytest.raises(SourceError) as refused:
            take_archive(tmp_path / name, tmp_path / "out.zip")
        assert str(tmp_path / name) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a/b.png", True),
        ("a/../b.png", False),
        ("../b.png", False),
        ("/b.png", False),
        ("a\\..\\..\\b.png", False),
        ("", False),
    ],
)
def test_unsafe_names_are_detected(name: str, inside: bool) -> None:
    assert is_inside(name) == inside


def tar_of(members: list[tuple[str, bytes]], path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip").read_bytes()
    tar = tar_of([("a.png", b"first"), ("inner.zip", inner)], tmp_path / "outer.tar")
    assert take_archive(tar, tmp_path / "out.zip").kind == "tar"
    assert contents(tmp_path / "out.zip") == {"a.png": b"first", "inner.zip": inner}


def test_a_tar_with_a_damaged_header_in_its_middle_is_refused(tmp_path: Path) -> None:
    tar = tar_of([(f"{k}.png", b"x" * 512) for k in range(6)], tmp_path / "pairs.tar")
    content = bytearray(tar.read_bytes())
    content[3 * 1024 + 150] ^= 0xFF
    tar.write_bytes(content)
    with pytest.raises(SourceError, match="damaged tar"):
        take_archive(tar, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_damaged_xz_is_refused(tmp_path: Path) -> None:
    tar = tar_of([("a.png", os.urandom(50_000))], tmp_path / "pairs.tar.xz", "w:xz")
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 0xFF
    tar.write_bytes(content)
    with pytest.raises(SourceError, match=r"pairs\.tar\.xz"):
        take_archive(tar, tmp_path / "out.zip")


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pairs")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"fourth")
    take_archive(folder, tmp_path / "out.zip")
    assert contents(tmp_path / "out.zip") == {**FILES, "\\xff.png": b"fourth"}


def test_of_two_members_with_one_name_the_first_is_packed(tmp_path: Path) -> None:
    tar = tar_of([("a.png", b"first"), ("a.png", b"second")], tmp_path / "pairs.tar")
    take_archive(tar, tmp_path / "out.zip")
    assert contents(tmp_path / "out.zip") == {"a.png": b"first"}
