"""Comic book archives (.cbz): zips whose members are pages, read in place, never unpacked to disk.

A member's name chooses no path outside the folder of its book, links are never followed, and what
is read is bounded by :mod:`colorizer.pictures.decoding_limits`.
"""

import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from colorizer.base.archive_damage import is_damage
from colorizer.base.errors import PictureError
from colorizer.base.files import atomic_path
from colorizer.base.zip_entries import list_files, read_entry, zip_entry
from colorizer.pictures.decoding import SUFFIXES
from colorizer.pictures.decoding_limits import MAX_BOOK_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS
from colorizer.pictures.pages import MAX_PAGES

BOOK_SUFFIX = ".cbz"
OTHER_BOOK_SUFFIXES = (".cbr", ".cb7", ".cbt", ".pdf")
OTHER_BOOK = "a book of a kind that isn't read; make it a .cbz or a folder of pages"
NOT_A_PAGE = "not a picture by its ending"
_SIGNATURES = {
    b"%PDF-": "a PDF",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"PK\x03\x04": "a zip archive",
}
_NUMBER = re.compile(r"(\d+)")


class Page(NamedTuple):
    """A picture in a book."""

    member: str
    """Its name as the zip has it."""
    path: str
    """The same as a path below the book: ``chapter 1/002.png``."""


class Book(NamedTuple):
    """What a .cbz holds."""

    pages: list[Page]
    """In reading order: by names, in which numbers count as such."""
    ignored: list[tuple[str, str]]
    """Other members and why they aren't taken; hidden ones aren't listed."""


def is_book(path: Path) -> bool:
    """Whether it is a .cbz file by its ending."""
    return path.suffix.lower() == BOOK_SUFFIX and path.is_file()


def find_book(path: Path) -> Path | None:
    """The .cbz file in which a path lies, ``comic.cbz/001.png``; None for a path of files."""
    return next((up for up in path.parents if is_book(up)), None)


def name_kind(head: bytes) -> str | None:
    """What a file's first 8 bytes say: the kind of a book or archive that can hold pages."""
    return next((kind for sign, kind in _SIGNATURES.items() if head.startswith(sign)), None)


def refuse_other_book(path: Path) -> None:
    """Raise :class:`PictureError` with what to do for a PDF or archive that was given by name.

    Raises :class:`OSError` if the file can't be read.
    """
    with path.open("rb") as file:
        kind = name_kind(file.read(8))
    if kind == "a zip archive":
        raise PictureError(f"{kind}, not a picture; if its members are pages, name it .cbz")
    if kind is not None:
        raise PictureError(f"{kind}, which isn't read; make it a .cbz or a folder of pages")


def open_book(path: Path) -> Book:
    """List a .cbz. Raises :class:`PictureError` if it is damaged or larger than allowed.

    Raises :class:`OSError` if it can't be read.
    """
    with _opened(path) as archive:
        num_members, files = len(archive.infolist()), list_files(archive)
    if num_members > MAX_MEMBERS:
        raise PictureError(f"{num_members} members, at most {MAX_MEMBERS} are read")
    pages: dict[str, Page] = {}
    ignored = []
    num_bytes = 0
    for member in files:
        inside = PurePosixPath(member.filename.replace("\\", "/"))
        hidden = any(part.startswith((".", "__MACOSX")) for part in inside.parts if part != "..")
        if hidden:
            continue
        if reason := _why_not_a_page(inside):
            ignored.append((inside.as_posix(), reason))
        elif inside.as_posix() in pages:
            ignored.append((inside.as_posix(), "a second member of this name"))
        else:
            pages[inside.as_posix()] = Page(member.filename, inside.as_posix())
            num_bytes += member.file_size
    if len(pages) > MAX_PAGES:
        raise PictureError(f"more than {MAX_PAGES} pages: split the file")
    if num_bytes > MAX_BOOK_BYTES:
        raise PictureError(f"too large: {num_bytes} bytes unpacked, at most {MAX_BOOK_BYTES}")
    return Book(sorted(pages.values(), key=lambda page: reading_order(page.path)), ignored)


def read_page(path: Path, member: str) -> bytes:
    """A page's file. Raises :class:`PictureError` for what is damaged, encrypted or too large."""
    with _opened(path) as archive:
        try:
            entry = archive.getinfo(member)
        except KeyError:
            raise PictureError("no longer in the archive") from None
        return read_entry(archive, entry, MAX_MEMBER_BYTES)


def write_book(path: Path, pages: Iterable[tuple[str, Path]]) -> None:
    """Pack files under these names into a .cbz, whole or not at all; equal files, equal bytes."""
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, file in pages:
            archive.writestr(zip_entry(name), file.read_bytes())


def reading_order(name: str) -> tuple[tuple[str, ...], str]:
    """A key by which ``page 2`` comes before ``page 10``, and a folder's pages stay together."""
    plain = unicodedata.normalize("NFC", name).casefold().replace("/", "\0")
    parts = _NUMBER.split(plain)
    digits = [part.lstrip("0").rjust(1, "0") for part in parts[1::2]]
    # a number sorts by its length first
    parts[1::2] = [f"{len(number):09}{number}" for number in digits]
    return tuple(parts), name


def _why_not_a_page(inside: PurePosixPath) -> str:
    if ".." in inside.parts or inside.is_absolute() or PureWindowsPath(inside).drive:
        return "its name leaves the archive"
    if inside.suffix.lower() in (BOOK_SUFFIX, *OTHER_BOOK_SUFFIXES):
        return "a book in a book, which isn't opened"
    return "" if inside.suffix.lower() in SUFFIXES else NOT_A_PAGE


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file:
        kind = name_kind(file.read(8))
        what = "not a zip archive, or a damaged one"
        if kind not in (None, "a zip archive"):
            what = f"{kind}, not a zip archive; make it a .cbz"
        with _damage_reported(what):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


@contextmanager
def _damage_reported(what: str) -> Iterator[None]:
    """Raise :class:`PictureError` for a damaged archive; a disk's errors are raised as they are."""
    try:
        yield
    except Exception as error:
        if not is_damage(error):
            raise
        raise PictureError(what) from None
