"""A folder of sketches → a folder of coloured pictures: resumable; a bad file is only reported.

A journal in the output folder records each result. The same command with the same options, model
and sketches skips what is recorded there. Shards are disjoint parts of the same sorted list.
"""

import csv
import hashlib
import io
import json
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from colorizer.base.errors import AlreadyColouredError, ColorizerError, PictureError
from colorizer.base.files import remove_abandoned, write_bytes
from colorizer.base.names import printable
from colorizer.hints.files import find_hints
from colorizer.jobs import JOURNALS, Ignored, Job
from colorizer.look.artwork import Part
from colorizer.pictures.comic_book import (
    find_book,
    open_book,
    read_page,
    reading_order,
    refuse_other_book,
)
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS, SUFFIXES
from colorizer.pictures.pages import MAX_PAGES
from colorizer.runtime import ColorizeOptions, Colorizer

if TYPE_CHECKING:
    from PIL.Image import Image

COPIED = "coloured already, so it was copied"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` of ``count``, counted from 1. Raises :class:`ValueError` for any other."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shard must be i/n with 1 ≤ i ≤ n, got {self.number}/{self.count}")

    @property
    def suffix(self) -> str:
        """For the names of this shard's journal and report; empty for a single shard."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one job: a row of the report."""

    source: str
    target: str
    status: str
    """done | copied | failed | ignored: copied and ignored also if coloured already"""
    page: int
    """Counted from 1. No default: results of versions that took first pages alone don't count."""
    pages: int
    """Of the sketch's file."""
    reason: str = ""
    """Why it failed or was ignored, or what else to know of a picture."""
    width: int = 0
    height: int = 0
    sha256: str = ""
    """Of the picture's file, in hexadecimal."""
    seconds: float = 0.0

    @property
    def has_picture(self) -> bool:
        """Whether a picture was written."""
        return self.status in ("done", "copied")


Entry = TypeVar("Entry")


def choose_shard(entries: Sequence[Entry], shard: Shard) -> list[Entry]:
    """Every ``count``-th job or ignored file, beginning at the shard's number."""
    return list(entries[shard.number - 1 :: shard.count])


class Journal:
    """Results on disk, a JSON line each, with the key of their options and model."""

    def __init__(self, folder: Path, shard: Shard, key: str) -> None:
        """Create the journal's file, which marks the folder as this command's.

        Raises :class:`ColorizerError` if the folder can't be written.
        """
        self.path = folder / f".colorize{shard.suffix}.jsonl"
        self.key = key
        self._lock = threading.Lock()
        try:
            self.path.touch()
        except OSError as error:
            raise ColorizerError(
                f"{folder}: can't write there ({error.strerror}); choose another folder for -o"
            ) from None

    def read(self, sources: Path, targets: Path) -> dict[tuple[str, int], Result]:
        """Source, page → result of earlier runs, if key, sketch and picture are still the same."""
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):  # a killed writer's last line
            with self.path.open("ab") as file:
                file.write(b"\n")
        last = {(result.source, result.page): entry for entry, result in _read_entries(self.path)}
        results = [self._check(entry, sources, targets) for entry in last.values()]
        # another source's picture may have taken the place of an earlier one
        newest = {
            result.target: (result.source, result.page)
            for _, result in _read_entries(self.path)
            if result.has_picture
        }
        return {
            key: result
            for result in results
            if result and newest.get(result.target, key := (result.source, result.page)) == key
        }

    def written_targets(self) -> set[str]:
        """What this and the other shards' journals say was written to the folder, ever."""
        return {
            result.target
            for path in self.path.parent.glob(JOURNALS)
            for _, result in _read_entries(path)
            if result.has_picture
        }

    def _check(self, entry: dict[str, Any], sources: Path, targets: Path) -> Result | None:
        result = Result(**entry["result"])
        try:
            if [entry["key"], entry["stamp"]] != [
                self.key,
                size_and_mtime(sources / result.source),
            ]:
                return None
        except (KeyError, OSError):
            return None
        is_valid = not result.has_picture or (targets / result.target).is_file()
        return result if is_valid else None

    def add(self, result: Result, stamp: list[int] | None) -> None:
        """Append a result. ``stamp``: the sketch's; None: the next run tries it again."""
        entry = {"key": self.key, "stamp": stamp}
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry | {"result": asdict(result)}) + "\n")


def _read_entries(journal: Path) -> Iterator[tuple[dict[str, Any], Result]]:
    """The valid lines of a journal; a killed writer's and other versions' lines are passed over."""
    for line in journal.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            yield entry, Result(**entry["result"])
        except (ValueError, TypeError, KeyError):
            continue


def size_and_mtime(path: Path) -> list[int]:
    """A file's size in bytes and modification time in ns: of a page in a .cbz, of that.

    Then those of its hints, if there are any. Raises :class:`OSError`.
    """
    files = [find_book(path) or path, *filter(None, [find_hints(path)])]
    statuses = [file.stat() for file in files]
    return [value for status in statuses for value in (status.st_size, status.st_mtime_ns)]


def check_file(path: Path) -> list[int]:
    """A sketch's size and modification time, after a look at whether it can be read at all.

    Raises :class:`PictureError` for an empty file, and :class:`ColorizerError` for what isn't a
    file or can't be read now.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise ColorizerError("not a file but a pipe, socket or device")
        path.open("rb").close()
    except FileNotFoundError:
        is_link = path.is_symlink()
        reason = "a link to a file that doesn't exist" if is_link else "no longer there"
        raise ColorizerError(reason) from None
    except OSError as error:
        raise ColorizerError(f"can't be read: {error.strerror}") from None
    if status.st_size == 0:
        raise PictureError("the file is empty")
    return [status.st_size, status.st_mtime_ns]


def _open_source(source: Path, member: str | None) -> tuple[list[int], Path | bytes]:
    """A sketch's size and modification time, and its path; of a page in a .cbz its bytes.

    Raises what :func:`check_file` raises, and :class:`PictureError` for a damaged archive.
    """
    if member is None:
        check_file(source)
        stamp = size_and_mtime(source)
        if source.suffix.lower() not in SUFFIXES:
            refuse_other_book(source)
        return stamp, source
    book = find_book(source) if member else source
    if book is None:
        raise ColorizerError("no longer there")
    stamp = check_file(book)
    if not member:
        open_book(book)  # which failed before
        raise ColorizerError("changed while it was read; run the same command again")
    return stamp, read_page(book, member)


def options_key(model_sha256: str, options: ColorizeOptions, part: Part) -> str:
    """A hash of all that a picture depends on except its sketch."""
    picture = cast("Image | None", options.reference)
    reference = hashlib.sha256(picture.tobytes()).hexdigest() if picture else ""
    parts = [model_sha256, options.clean, options.opaque, options.seed, options.palette, reference]
    parts += [options.keep_skin, options.line_strength, options.coloured, part]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class BatchResults(NamedTuple):
    """The results of a run."""

    results: list[Result]
    """One per job and page, in the jobs' order; with those of earlier runs."""
    num_skipped: int
    """Pictures that an earlier run had coloured."""

    @property
    def num_failed(self) -> int:
        """Jobs that failed, in this or an earlier run."""
        return sum(result.status == "failed" for result in self.results)

    @property
    def num_coloured(self) -> int:
        """Pictures that this run coloured."""
        return sum(result.status == "done" for result in self.results) - self.num_skipped

    @property
    def num_coloured_before(self) -> int:
        """Pictures that were coloured already, so that they were copied or left alone."""
        return sum(result.status in ("copied", "ignored") for result in self.results)


class Outcome(NamedTuple):
    """What became of a job."""

    result: Result
    stamp: list[int] | None
    """The sketch's, for the journal; None if the next run shall try again."""
    more: list[Job]
    """The file's other pages, of which the first one told."""


class Batch:
    """Colours jobs in threads, each with a decoder process of its own."""

    def __init__(
        self,
        colorizer: Colorizer,
        sources: Path,
        targets: Path,
        options: ColorizeOptions,
        part: Part = "picture",
        *,
        protected: Iterable[Path] = (),
    ) -> None:
        """``protected``: files that are never replaced, by whatever name."""
        self.colorizer = colorizer
        self.sources = sources
        self.targets = targets
        self.options = options
        self.part = part
        self._protected = _identify_files(protected)
        self._written: set[str] = set()

    def run(
        self,
        jobs: Sequence[Job],
        journal: Journal,
        *,
        workers: int,
        on_result: Callable[[Result], object],
    ) -> BatchResults:
        """Run the jobs that the journal doesn't record; a broken picture isn't tried again.

        ``on_result`` is called once per job and page, in any order. Temporary files that a killed
        run left in the output folders are removed first.
        """
        for folder in {self.targets, *((self.targets / job.target).parent for job in jobs)}:
            remove_abandoned(folder)
        before = journal.read(self.sources, self.targets)
        self._written = journal.written_targets()
        num_pages = {result.source: result.pages for result in before.values()}
        jobs = [page for job in jobs for page in _all_pages(job, num_pages.get(job.source, 1))]
        results = {key: before[key] for job in jobs if (key := (job.source, job.page)) in before}
        num_skipped = sum(result.status == "done" for result in results.values())
        for result in results.values():
            on_result(result)
        order = {job.source: number for number, job in reversed(list(enumerate(jobs)))}
        waiting = [job for job in jobs if (job.source, job.page) not in before]
        for outcome in self._run_all(waiting, workers):
            result = outcome.result
            journal.add(result, outcome.stamp)
            results[result.source, result.page] = result
            on_result(result)
        in_order = sorted(results, key=lambda key: (order[key[0]], key[1]))
        return BatchResults([results[key] for key in in_order], num_skipped)

    def _run_all(self, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
        local = threading.local()
        with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
            lock = threading.Lock()

            def run(job: Job) -> Outcome:
                if not hasattr(local, "decoder"):
                    with lock:
                        decoder = DecoderProcess(max_pixels=MAX_SKETCH_PIXELS)
                        local.decoder = stack.enter_context(decoder)
                return self._run_one(job, local.decoder)

            try:
                yield from _run_bounded(pool, run, jobs, 2 * workers)
            finally:
                pool.shutdown(cancel_futures=True)

    def _run_one(self, job: Job, decoder: DecoderProcess) -> Outcome:
        start_s = time.monotonic()
        source, stamp = self.sources / job.source, None
        more: list[Job] = []
        try:
            stamp, file = _open_source(source, job.member)
            decoded = self.colorizer.decode(file, decoder=decoder, page=job.page - 1)
            if decoded.pages.num_pages > MAX_PAGES:
                raise PictureError(f"more than {MAX_PAGES} pages: split the file")
            # where an earlier run counted the pages, all are jobs already
            if job.page == 1 and job.pages != decoded.pages.num_pages:
                job, *more = _all_pages(job, decoded.pages.num_pages)
            hints = find_hints(source) if job.page == 1 and job.member is None else None
            artwork = self.colorizer.draw_decoded(decoded, self.options, hints, decoder=decoder)
            target = self.targets / job.target
            data = artwork.encode(target.suffix, self.part)
            self._write(target, data)
        except AlreadyColouredError as error:
            self._remove_own(job)
            return Outcome(_make_result(job, "ignored", str(error)), stamp, more)
        except (ColorizerError, OSError, MemoryError) as error:
            self._remove_own(job)
            reason = str(error).removeprefix(f"{source}: ").removeprefix("the sketch: ")
            reason = reason or "out of memory"
            # other failures may end without a change of the sketch
            stamp = stamp if isinstance(error, PictureError) else None
            return Outcome(_make_result(job, "failed", reason), stamp, more)
        width, height = artwork.colour.size
        num_frames = decoded.pages.num_frames
        notes = [COPIED] * artwork.is_copy
        if num_frames > 1:
            what = "copied" if artwork.is_copy else "coloured"
            notes.append(f"only frame 1 of {num_frames} is {what}")
        status = "copied" if artwork.is_copy else "done"
        result = replace(
            _make_result(job, status, "; ".join(notes)),
            width=width,
            height=height,
            sha256=hashlib.sha256(data).hexdigest(),
            seconds=round(time.monotonic() - start_s, 3),
        )
        return Outcome(result, stamp, more)

    def _write(self, target: Path, data: bytes) -> None:
        """Write a picture. Raises :class:`ColorizerError` also where it would replace a sketch."""
        try:
            if target.exists() and _file_identity(target) in self._protected:
                raise ColorizerError(
                    f"{target} is an input, which would be overwritten; choose another folder"
                    " for -o"
                )
            write_bytes(target, data)
        except OSError as error:
            raise ColorizerError(f"can't write {target}: {error.strerror}") from None

    def _remove_own(self, job: Job) -> None:
        """Remove the picture of an earlier run with other options, but nobody else's file."""
        if job.target in self._written:
            with suppress(OSError):
                (self.targets / job.target).unlink()


def _file_identity(path: Path) -> tuple[int, int]:
    """Device and inode: equal for all names of a file. Raises :class:`OSError`."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _identify_files(paths: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """The identities of those files that exist."""
    found = set()
    for path in paths:
        with suppress(OSError):
            found.add(_file_identity(path))
    return frozenset(found)


def _all_pages(job: Job, pages: int) -> list[Job]:
    return [job.of_page(page, pages) for page in range(1, pages + 1)]


def _make_result(job: Job, status: str, reason: str) -> Result:
    return Result(
        source=job.source,
        target=job.target,
        status=status,
        page=job.page,
        pages=job.pages,
        reason=reason,
    )


def _run_bounded(
    pool: ThreadPoolExecutor, run: Callable[[Job], Outcome], jobs: Sequence[Job], limit: int
) -> Iterator[Outcome]:
    """Yield outcomes as they finish, with at most ``limit`` jobs submitted at a time."""
    waiting, running = deque(jobs), set[Future[Outcome]]()
    while waiting or running:
        while waiting and len(running) < limit:
            running.add(pool.submit(run, waiting.popleft()))
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            outcome = future.result()
            waiting.extendleft(reversed(outcome.more))
            yield outcome


def make_rows(results: Iterable[Result], ignored: Iterable[Ignored] = ()) -> list[dict[str, Any]]:
    """The report's rows; names are printable, see :func:`~colorizer.base.names.printable`."""
    skipped = (
        Result(source=source, target="", status="ignored", page=0, pages=0, reason=reason)
        for source, reason in ignored
    )
    in_order = sorted(
        (*results, *skipped), key=lambda result: (reading_order(result.source), result.page)
    )
    rows = map(asdict, in_order)
    return [
        {key: printable(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]


def write_report(folder: Path, shard: Shard, rows: Sequence[dict[str, Any]]) -> Path:
    """Write ``report.csv`` and ``report.json``; return the path of the former."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(Result.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / f"report{shard.suffix}.csv"
    write_bytes(path, table.getvalue().encode())
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path.with_suffix(".json"), text.encode())
    return path
