"""What an input folder holds: the sketches to colour, what isn't taken, and the outputs' names.

A .cbz is taken as a folder of its pages; ``page.hints.png`` and ``page.hints.json`` belong to a
sketch beside them, and aren't sketches. The names depend on the set of sketches alone, so that
every shard and every run agree on them. No two outputs share a name, not even on a disk that
ignores case or stores accents otherwise.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.base.names import printable
from colorizer.hints.files import find_hints, stem_of_sketch
from colorizer.pictures.comic_book import (
    BOOK_SUFFIX,
    NOT_A_PAGE,
    OTHER_BOOK,
    OTHER_BOOK_SUFFIXES,
    find_book,
    is_book,
    open_book,
    reading_order,
)
from colorizer.pictures.decoding import SUFFIXES

JOURNALS = ".colorize*.jsonl"
"""Marks a folder that this command writes to."""
WRONG_SUFFIX = NOT_A_PAGE
OUTPUT_FOLDER = "an output folder of this command"
LONE_HINTS = "hints without a sketch of this name beside them"
STORED_BOOK = "a .cbz in an object store; download it first"
FOLDER_LINK = "a link to a folder, which isn't followed"
_PAGE = re.compile(r"(.+)_\d+")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One page of a sketch and its picture: paths relative to the input and the output folder."""

    source: str
    target: str
    page_stem: str
    """The target of page 2 of 3 is this, then ``_02`` and the suffix."""
    page: int = 1
    """Counted from 1."""
    pages: int = 1
    """Of the file, as far as is known: 1 before its first page was decoded."""
    member: str | None = None
    """Of a page in a .cbz, which ``source`` names first: its name as the zip has it; "" for a
    damaged .cbz as a whole."""
    name: str = ""
    """By which the target is named: its path below the input folder, or below a .cbz's own."""

    def of_page(self, page: int, pages: int) -> "Job":
        """The job for a page of this file, which has ``pages`` of them."""
        if pages == 1:
            return self
        target = name_page(self.page_stem, page, pages) + PurePosixPath(self.target).suffix
        return replace(self, page=page, pages=pages, target=target)


class Ignored(NamedTuple):
    """A file or folder that isn't taken, relative to the input folder, and why."""

    source: str
    reason: str


class Found(NamedTuple):
    """What an input folder holds."""

    jobs: list[Job]
    """Every sketch, sorted by its name."""
    ignored: list[Ignored]
    """Files and folders that aren't taken, sorted; hidden ones aren't listed."""


def name_page(stem: str, page: int, pages: int) -> str:
    """``name_01``, without suffix: as many digits as the last page needs, two at least."""
    return f"{stem}_{page:0{max(2, len(str(pages)))}}"


def find_jobs(sources: Path, suffix: str, output: Path | None = None) -> Found:
    """Every picture file below a folder by its suffix, sorted; the subfolders are kept.

    A .cbz counts as a folder of its pages, which are sorted as one reads them; ``sources`` may be
    one. Of a damaged one a single job is made, which fails.

    Hidden files are left out: a killed writer's temporary files are hidden. The output folder and
    those of earlier runs are left out where they lie in the input folder.

    Raises :class:`PictureError` if there is no picture, and :class:`ColorizerError` if the output
    folder is the input folder, or lies in it and holds other pictures than this command's.
    """
    if output is not None:
        refuse_overwriting(sources, output)
    find = _open_book if is_book(sources) else _find_files
    found, ignored = find(sources, output)
    if not found:
        others = "".join(f"; {text}" for text in summarize(ignored))
        raise PictureError(f"{sources}: no pictures ({', '.join(SUFFIXES)}){others}")
    return Found(_make_jobs(found, suffix), sorted(ignored))


def find_stored_jobs(prefix: str, names: Iterable[str], suffix: str, output: str) -> Found:
    """The jobs for files in an object store, by their names below ``prefix``; as for a folder.

    ``output``: the name, ending in a slash, below which pictures go; empty if not below ``prefix``.
    A .cbz isn't taken. Raises what :func:`find_jobs` raises.
    """
    names = sorted(names)
    written = {name[: name.rindex("/") + 1] for name in names if fnmatch(name, f"*/{JOURNALS}")}
    if any(fnmatch(name, JOURNALS) and "/" not in name for name in names):
        raise ColorizerError(f"{prefix}: {OUTPUT_FOLDER}; give the address of sketches")
    entries: list[str | Ignored] = []
    for name in names:
        below = next((folder for folder in sorted(written) if name.startswith(folder)), None)
        if below is not None:
            if Ignored(below.rstrip("/"), OUTPUT_FOLDER) not in entries[-1:]:
                entries.append(Ignored(below.rstrip("/"), OUTPUT_FOLDER))
        elif output and name.startswith(output) and _has_picture_suffix(name):
            raise ColorizerError(
                f"{prefix}{output}: the output address lies in the input's and holds pictures that"
                " this command didn't make; choose a new one for -o"
            )
        elif PurePosixPath(name).suffix.lower() == BOOK_SUFFIX:
            entries.append(Ignored(name, STORED_BOOK))
        else:
            entries.append(name)
    found, ignored = _sort_entries(entries, None)
    if not found:
        others = "".join(f"; {text}" for text in summarize(ignored))
        raise PictureError(f"{prefix}: no pictures ({', '.join(SUFFIXES)}){others}")
    return Found(_make_jobs(found, suffix), sorted(ignored))


def hints_by_stem(names: Iterable[str]) -> dict[str, str]:
    """Sketch without its suffix → its file of hints; JSON comes before a picture."""
    found = {}
    for name in sorted(names, key=lambda name: name.lower().endswith(".json")):
        if stem := stem_of_sketch(PurePosixPath(name)):
            found[str(PurePosixPath(name).with_name(stem))] = name
    return found


def find_all_jobs(inputs: Sequence[Path], suffix: str, output: Path | None) -> Found:
    """The jobs for several files and folders; their sources are paths as given.

    Files are taken whatever their ending; those that share a name go below their folders' names, as
    does what is in a folder. Raises what :func:`find_jobs` raises, :class:`PictureError` for a file
    that doesn't exist and :class:`ColorizerError` if the output folder holds one of the files.
    """
    found: dict[str, _Source] = {}
    ignored = []
    counts = Counter(_key(path.stem) for path in dict.fromkeys(inputs))
    for path in dict.fromkeys(inputs):
        if stem_of_sketch(path) and path.is_file():
            if not any(is_sketch_of(other, path) for other in path.parent.iterdir()):
                ignored.append(Ignored(str(path), LONE_HINTS))
        elif path.is_dir() or is_book(path):
            inside = find_jobs(path, suffix, output)
            resolved = Path(os.path.realpath(path))
            below = resolved.name if path.is_dir() else resolved.stem
            for job in inside.jobs:
                its = _Source(str(path / job.source), f"{below}/{job.name}", job.member)
                found.setdefault(its.source, its)
            ignored += [Ignored(str(path / source), reason) for source, reason in inside.ignored]
        elif not os.path.lexists(path):
            raise PictureError(f"{path}: no such file or folder")
        elif output and os.path.realpath(path.parent) == os.path.realpath(output):
            raise ColorizerError(f"{output}: holds an input, {path}; choose another folder for -o")
        else:
            below = Path(os.path.realpath(path.parent)).name if counts[_key(path.stem)] > 1 else ""
            name = (PurePosixPath(below) / path.name).as_posix()
            found.setdefault(str(path), _Source(str(path), name))
    in_order = sorted(found.values(), key=_order)
    return Found(_make_jobs(in_order, suffix), sorted(ignored))


def list_inputs(sources: Path, jobs: Sequence[Job]) -> set[Path]:
    """The files that the jobs read, and their hints: for pages in a .cbz, that."""
    paths = [sources / job.source for job in jobs]
    hints = {found for path in paths if (found := find_hints(path))}
    return {find_book(path) or path for path in paths} | hints


def is_sketch_of(path: Path, hints: Path) -> bool:
    """Whether a file of hints belongs to this file, by their names."""
    return path.stem == stem_of_sketch(hints) and _has_picture_suffix(path.name)


def refuse_overwriting(source: Path, target: Path) -> None:
    """Raise :class:`ColorizerError` if both are the same file or folder, also through links."""
    try:
        is_same = source.samefile(target)
    except OSError:  # one doesn't exist
        return
    if is_same:
        kind = "folder" if source.is_dir() else "file"
        raise ColorizerError(
            f"{target}: the output is the input itself, which would be overwritten; choose another"
            f" {kind} for -o"
        )


def summarize(ignored: Sequence[Ignored], *, max_names: int = 3) -> list[str]:
    """A line for each reason: how many, and the first names."""
    lines = []
    for reason, count in Counter(entry.reason for entry in ignored).items():
        names = [printable(entry.source) for entry in ignored if entry.reason == reason]
        more = ", …" if count > max_names else ""
        lines.append(f"{count} not taken: {reason} ({', '.join(names[:max_names])}{more})")
    return lines


class _Source(NamedTuple):
    """A sketch, and the path by which its picture is named."""

    source: str
    path: str
    member: str | None = None


def _find_files(sources: Path, output: Path | None) -> tuple[list[_Source], list[Ignored]]:
    """The pictures below a folder, then the pages of its books; and what isn't taken."""
    entries = _walk(sources, os.path.realpath(output) if output else None)
    return _sort_entries(entries, sources)


def _sort_entries(
    entries: Iterable[str | Ignored], sources: Path | None
) -> tuple[list[_Source], list[Ignored]]:
    """``sources``: the folder, in which books are opened."""
    found: list[_Source] = []
    ignored: list[Ignored] = []
    books: list[str] = []
    hints: list[str] = []
    for entry in entries:
        if isinstance(entry, Ignored):
            ignored.append(entry)
        elif stem_of_sketch(PurePosixPath(entry)) and not PurePosixPath(entry).name.startswith("."):
            hints.append(entry)
        elif _has_picture_suffix(entry):
            found.append(_Source(entry, entry))
        elif any(part.startswith(".") for part in PurePosixPath(entry).parts):
            continue
        elif sources and is_book(sources / entry):
            books.append(entry)
        else:
            is_other_book = PurePosixPath(entry).suffix.lower() in OTHER_BOOK_SUFFIXES
            ignored.append(Ignored(entry, OTHER_BOOK if is_other_book else WRONG_SUFFIX))
    found.sort()
    stems = {str(PurePosixPath(each.path).with_suffix("")) for each in found}
    for entry in hints:
        path = PurePosixPath(entry)
        if str(path.with_name(stem_of_sketch(path) or "")) not in stems:
            ignored.append(Ignored(entry, LONE_HINTS))
    folders = {_key(str(up)) for each in found for up in PurePosixPath(each.path).parents}
    for book, below in _name_books(sorted(books), folders):
        assert sources, "books are looked for in folders"
        pages, others = _open_book(sources / book, None, book, below)
        found += pages
        ignored += others
    return found, ignored


def _order(each: _Source) -> tuple[bool, tuple[str, ...], str]:
    """Files by their names, then books' pages as one reads them."""
    if each.member is None:
        return False, (each.path,), each.source
    return True, *reading_order(each.path)


def _open_book(
    book: Path, _: Path | None, source: str = "", below: str = ""
) -> tuple[list[_Source], list[Ignored]]:
    """A .cbz's pages and other members; ``below``: the folder that its pictures are put into."""
    try:
        pages, others = open_book(book)
    except (PictureError, OSError):  # reading it fails again, and then it's reported
        return [_Source(source or ".", below or book.stem, "")], []
    # not joined as paths: a member's name may be an absolute one
    start, folder = (f"{name}/" if name else "" for name in (source, below))
    found = [_Source(start + path, folder + path, member) for member, path in pages]
    return found, [Ignored(start + path, reason) for path, reason in others]


def _name_books(books: Sequence[str], folders: set[str]) -> Iterator[tuple[str, str]]:
    """Each .cbz and the folder for its pictures: named by its stem where that is unique."""
    stems = [str(PurePosixPath(book).with_suffix("")) for book in books]
    counts = Counter(map(_key, stems))
    is_free = [counts[_key(stem)] == 1 and _key(stem) not in folders for stem in stems]
    taken = {_key(stem) for stem, free in zip(stems, is_free, strict=True) if free}
    for book, stem, free in zip(books, stems, is_free, strict=True):
        below = stem if free else _first_free(book, taken, folders, "")
        taken.add(_key(below))
        yield book, below


def _make_jobs(found: Sequence[_Source], suffix: str) -> list[Job]:
    jobs = _name_targets([each.path for each in found], suffix)
    return [
        replace(job, source=each.source, name=each.path, member=each.member)
        for job, each in zip(jobs, found, strict=True)
    ]


def _has_picture_suffix(source: str) -> bool:
    path = PurePosixPath(source)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _walk(sources: Path, output: str | None) -> Iterator[str | Ignored]:
    """The paths of all files, relative to the folder, and the subfolders that aren't entered."""
    unread: list[OSError] = []
    for folder, subfolders, names in os.walk(sources, onerror=unread.append):
        inside = Path(folder).relative_to(sources)
        yield from ((inside / name).as_posix() for name in names)
        for name in list(subfolders):
            path = Path(folder, name)
            if reason := _why_not_entered(path, output):
                subfolders.remove(name)
                yield Ignored((inside / name).as_posix(), reason)
    for error in unread:
        path = Path(os.fsdecode(error.filename))
        if path == sources:
            raise error
        yield Ignored(path.relative_to(sources).as_posix(), f"can't be read: {error.strerror}")


def _why_not_entered(folder: Path, output: str | None) -> str:
    if folder.is_symlink():
        return FOLDER_LINK
    if next(folder.glob(JOURNALS), None):
        return OUTPUT_FOLDER
    if os.path.realpath(folder) != output:
        return ""
    if any(_has_picture_suffix(entry) for entry in _walk(folder, None) if isinstance(entry, str)):
        raise ColorizerError(
            f"{folder}: the output folder lies in the input folder and holds pictures that this"
            " command didn't make; choose a new folder for -o"
        )
    return OUTPUT_FOLDER


def _name_targets(sources: Sequence[str], suffix: str) -> list[Job]:
    """A job for each source: named by its stem where that is unique, else by its whole name."""
    folders = {_key(str(up)) for source in sources for up in PurePosixPath(source).parents}
    stems = [str(PurePosixPath(source).with_suffix("")) for source in sources]
    counts = Counter(map(_key, stems))
    is_free = [counts[_key(stem)] == 1 and _key(stem + suffix) not in folders for stem in stems]
    taken = {_key(stem) for stem, free in zip(stems, is_free, strict=True) if free}
    bases = []
    for source, stem, free in zip(sources, stems, is_free, strict=True):
        base = stem if free else _first_free(source, taken, folders, suffix)
        taken.add(_key(base))
        bases.append(base)
    # names that pages would have
    numbered = {
        match[1]
        for key in (*taken, *(folder.removesuffix(suffix) for folder in folders))
        if (match := _PAGE.fullmatch(key))
    }
    jobs = []
    for source, base in zip(sources, bases, strict=True):
        page_stem = base
        if _key(base) in numbered:
            page_stem = _first_free(source, taken | numbered, folders, suffix)
            taken.add(_key(page_stem))
        jobs.append(Job(source=source, name=source, target=base + suffix, page_stem=page_stem))
    return jobs


def _first_free(name: str, taken: set[str], folders: set[str], suffix: str) -> str:
    """The name, or the first of ``name-2``, ``name-3`` … that is neither taken nor a folder's."""
    candidate, number = name, 1
    while _key(candidate) in taken or _key(candidate + suffix) in folders:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _key(name: str) -> str:
    """Equal for names that some file systems don't tell apart."""
    return unicodedata.normalize("NFC", name).casefold()
