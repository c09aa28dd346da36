"""A .cbz is coloured as a folder of its pages, whatever its members are and are called."""

import json
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from colorizer.base.errors import PictureError
from colorizer.jobs import find_all_jobs, find_jobs
from colorizer.pictures import comic_book
from colorizer.pictures.comic_book import open_book, read_page
from tests.colorizer.drawing import draw, painted, png

PAGE = png(draw())


def make_book(path: Path, *names: str, **more: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, PAGE)
        for name, data in more.items():
            archive.writestr(name.replace("_", "."), data)
    return path


def encrypt(path: Path, member: str) -> None:
    """Mark a member as encrypted, in its own header and the archive's list."""
    data = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.rindex(sign, 0, data.rindex(member.encode(), 0, None if offset == 8 else -100))
        flags = struct.unpack_from("<H", data, at + offset)[0]
        struct.pack_into("<H", data, at + offset, flags | 1)
    path.write_bytes(data)


def test_a_books_pages_become_a_folder_of_pictures(tmp_path: Path, run: Any) -> None:
    draw().save(tmp_path / "comic.png")
    make_book(tmp_path / "in" / "vol" / "comic.cbz", "2.png", "10.png", "ch 2/a.png")
    run(tmp_path / "comic.png", "-o", tmp_path / "alone.png")
    ran = run(tmp_path / "in", "-o", tmp_path / "out")
    assert (ran.code, ran.out.split(";")[0]) == (0, "3 coloured, 0 skipped (done before), 0 failed")
    alone = (tmp_path / "alone.png").read_bytes()
    for name in ("2.png", "10.png", "ch 2/a.png"):
        assert (tmp_path / "out" / "vol" / "comic" / name).read_bytes() == alone
    rows = json.loads((tmp_path / "out" / "report.json").read_text())
    names = [f"vol/comic.cbz/{name}" for name in ("2.png", "10.png", "ch 2/a.png")]
    assert [row["source"] for row in rows] == names
    again = run(tmp_path / "in", "-o", tmp_path / "out")
    assert again.out.startswith("0 coloured, 3 skipped (done before), 0 failed")
    make_book(tmp_path / "in" / "vol" / "comic.cbz", "2.png")
    changed = run(tmp_path / "in", "-o", tmp_path / "out")
    assert changed.out.startswith("1 coloured, 0 skipped (done before), 0 failed")


def test_a_book_may_be_given_by_name_and_packed_again(tmp_path: Path, run: Any) -> None:
    book = make_book(tmp_path / "a.cbz", "p1.png", "p2.jpg", ComicInfo_xml=b"<ComicInfo/>")
    with zipfile.ZipFile(book, "a") as archive:
        archive.writestr("p10.png", png(painted()))
    ran = run(book, "-o", tmp_path / "done.cbz")
    assert ran.code == 0
    assert "1 not taken: not a picture by its ending (ComicInfo.xml)" in ran.err
    assert "p10.png: coloured already, so it was copied" in ran.err
    with zipfile.ZipFile(tmp_path / "done.cbz") as archive:
        assert archive.namelist() == ["p1.png", "p2.png", "p10.png"]
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "done" / name).read_bytes()
    assert run(book, "-o", book).err.startswith(f"error: {book}: the output is the input itself")
    with pytest.raises(SystemExit):
        run(book, "-o", tmp_path / "done.cbz", "--shard", "1/2")


def test_several_inputs_may_be_books(tmp_path: Path) -> None:
    books = [make_book(tmp_path / f"{name}.cbz", "1.png") for name in ("a", "b")]
    (tmp_path / "c.png").write_bytes(PAGE)
    found = find_all_jobs([*books, tmp_path / "c.png"], ".png", tmp_path / "out")
    assert [(job.source, job.target) for job in found.jobs] == [
        (str(tmp_path / "c.png"), "c.png"),
        (str(tmp_path / "a.cbz" / "1.png"), "a/1.png"),
        (str(tmp_path / "b.cbz" / "1.png"), "b/1.png"),
    ]


def test_a_books_folder_is_named_apart_from_others(tmp_path: Path) -> None:
    make_book(tmp_path / "vol.cbz", "1.png")
    make_book(tmp_path / "Two.CBZ", "1.png")
    make_book(tmp_path / "two.cbz", "1.png")
    (tmp_path / "VOL").mkdir()
    (tmp_path / "VOL" / "1.png").write_bytes(PAGE)
    targets = [job.target for job in find_jobs(tmp_path, ".png").jobs]
    assert targets == ["VOL/1.png", "Two.CBZ/1.png", "two.cbz-2/1.png", "vol.cbz/1.png"]


def test_no_member_is_written_outside_of_its_folder(tmp_path: Path, run: Any) -> None:
    book = make_book(
        tmp_path / "in" / "evil.cbz",
        "../up.png",
        "a/../../up2.png",
        "/abs.png",
        "..\\back.png",
        "C:\\drive.png",
        "good\\inside.png",
    )
    with zipfile.ZipFile(book, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    ran = run(tmp_path / "in", "-o", tmp_path / "out")
    assert ran.code == 3
    assert "5 not taken: its name leaves the archive (evil.cbz/" in ran.err
    assert "link.png: not a picture" in ran.err
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert written == {"out/evil/good/inside.png"}


def test_bad_members_and_books_are_named_and_the_rest_is_coloured(tmp_path: Path, run: Any) -> None:
    book = make_book(tmp_path / "in" / "a.cbz", "1.png", "locked.png", "torn.png")
    encrypt(book, "locked.png")
    data = bytearray(book.read_bytes())
    at = data.index(b"torn.png") + 40
    data[at : at + 30] = bytes(30)
    book.write_bytes(data)
    (tmp_path / "in" / "rar.cbz").write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(99))
    (tmp_path / "in" / "half.cbz").write_bytes(book.read_bytes()[:-40])
    for name in ("b.cbr", "c.cb7", "d.pdf"):
        (tmp_path / "in" / name).write_bytes(b"x")
    ran = run(tmp_path / "in", "-o", tmp_path / "out")
    assert ran.code == 3
    assert "1 coloured, 0 skipped (done before), 4 failed" in ran.out
    assert "a.cbz/locked.png: encrypted: unpack the archive" in ran.err
    assert "a.cbz/torn.png: damaged in the archive" in ran.err
    assert "rar.cbz: a RAR archive, not a zip archive; make it a .cbz" in ran.err
    assert "half.cbz: not a zip archive, or a damaged one" in ran.err
    assert "3 not taken: a book of a kind that isn't read; make it a .cbz" in ran.err
    assert "(b.cbr, c.cb7, d.pdf)" in ran.err


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pdf", b"%PDF-1.7\n", "a PDF, which isn't read; make it a .cbz or a folder of pages"),
        ("a.cbr", b"Rar!\x1a\x07\x00", "a RAR archive, which isn't read; make it a .cbz"),
        ("a.zip", b"PK\x03\x04", "a zip archive, not a picture; if its members are pages"),
        ("a.cbz", b"7z\xbc\xaf\x27\x1c", "a 7z archive, not a zip archive; make it a .cbz"),
        ("b.cbz", b"", "not a zip archive, or a damaged one"),
    ],
)
def test_a_file_that_is_no_cbz_is_refused_with_what_to_do(
    tmp_path: Path, run: Any, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    ran = run(tmp_path / name, "-o", tmp_path / "out")
    assert ran.code == 1
    assert ran.err.startswith(f"error: {tmp_path / name}: {message}")


def test_members_and_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = make_book(tmp_path / "a.cbz", "1.png", "2.png", "3.png")
    for limit, value, message in (
        ("MAX_MEMBERS", 2, "3 members, at most 2"),
        ("MAX_PAGES", 2, "more than 2 pages"),
        ("MAX_BOOK_BYTES", 2 * len(PAGE), "too large: .* bytes unpacked"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(comic_book, limit, value)
            with pytest.raises(PictureError, match=message):
                open_book(book)
    monkeypatch.setattr(comic_book, "MAX_MEMBER_BYTES", len(PAGE) - 1)
    with pytest.raises(PictureError, match="too large"):
        read_page(book, "1.png")


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    book = make_book(tmp_path / "bomb.cbz", **{"1_png": bytes(10_000_000)})
    data = bytearray(book.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 100)
    book.write_bytes(data)
    with pytest.raises(PictureError, match="damaged in the archive"):
        read_page(book, "1.png")


def test_duplicate_hidden_and_nested_members_are_no_pages(tmp_path: Path) -> None:
    names = ("1.png", ".h.png", "__MACOSX/._1.png", "x/in.cbz", "d/")
    book = make_book(tmp_path / "a.cbz", *names)
    with zipfile.ZipFile(book, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("1.png", b"other")
    found = open_book(book)
    assert [page.path for page in found.pages] == ["1.png"]
    assert dict(found.ignored) == {
        "1.png": "a second member of this name",
        "x/in.cbz": "a book in a book, which isn't opened",
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_raises_nothing_else(tmp_path: Path) -> None:
    whole = make_book(tmp_path / "a.cbz", "ch/1.png", "ch/\xe9.png").read_bytes()
    listed = whole.index(b"PK\x01\x02")
    book, outcomes = tmp_path / "b.cbz", set()
    for seed in range(700):
        draws = random.Random(seed)
        data = bytearray(whole)
        for _ in range(draws.randrange(1, 5)):
            data[draws.randrange(listed, len(data))] = draws.choice((0, 255, draws.randrange(256)))
        book.write_bytes(data)
        try:
            for page in open_book(book).pages:
                read_page(book, page.member)
            outcomes.add("read")
        except PictureError as error:
            outcomes.add(str(error)[:20])
    assert len(outcomes) > 4
