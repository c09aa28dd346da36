"""A folder of sketches → a folder of coloured pictures: resumable; a bad file is only reported.

A journal in the output folder records each result. The same command with the same options, model
and sketches skips what is recorded there. Shards are disjoint parts of the same sorted list.
"""

import csv
import hashlib
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from colorizer.base.errors import AlreadyColouredError, ColorizerError, PictureError
from colorizer.base.names import printable
from colorizer.jobs import Ignored, Job
from colorizer.look.artwork import Part
from colorizer.pictures.comic_book import reading_order
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
from colorizer.pictures.pages import MAX_PAGES
from colorizer.runtime import ColorizeOptions, Colorizer
from colorizer.sources import Sketches, Stamp
from colorizer.targets import Targets

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
    """Results where the pictures go, a JSON line each, with the key of their options and model."""

    def __init__(self, targets: Targets, shard: Shard, key: str) -> None:
        """Raises :class:`ColorizerError` if nothing can be written there."""
        self.key = key
        self._targets = targets
        self._lines = targets.open_lines(shard.suffix)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def read(self, sketches: Sketches) -> dict[tuple[str, int], Result]:
        """Source, page → result of earlier runs, if key, sketch and picture are still the same."""
        entries = list(_parse_entries(self._lines.read()))
        last = {(result.source, result.page): entry for entry, result in entries}
        results = [self._check(entry, sketches) for entry in last.values()]
        # another source's picture may have taken the place of an earlier one
        newest = {
            result.target: (result.source, result.page)
            for _, result in entries
            if result.has_picture
        }
        return {
            key: result
            for result in results
            if result and newest.get(result.target, key := (result.source, result.page)) == key
        }

    def written_targets(self) -> set[str]:
        """What this and the other shards' journals say was written there, ever."""
        return {
            result.target
            for data in self._lines.read_all()
            for _, result in _parse_entries(data)
            if result.has_picture
        }

    def _check(self, entry: dict[str, Any], sketches: Sketches) -> Result | None:
        result = Result(**entry["result"])
        try:
            if [entry["key"], entry["stamp"]] != [self.key, sketches.stamp(result.source)]:
                return None
        except (KeyError, OSError):
            return None
        is_valid = not result.has_picture or self._targets.exists(result.target)
        return result if is_valid else None

    def add(self, result: Result, stamp: Stamp | None) -> None:
        """Append a result. ``stamp``: the sketch's; None: the next run tries it again."""
        entry = {"key": self.key, "stamp": stamp, "result": asdict(result)}
        self._lines.add(json.dumps(entry) + "\n")


def _parse_entries(data: bytes) -> Iterator[tuple[dict[str, Any], Result]]:
    """The valid lines of a journal; a killed writer's and other versions' lines are passed over."""
    for line in data.splitlines():
        try:
            entry = json.loads(line)
            yield entry, Result(**entry["result"])
        except (ValueError, TypeError, KeyError):
            continue


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
    stamp: Stamp | None
    """The sketch's, for the journal; None if the next run shall try again."""
    more: list[Job]
    """The file's other pages, of which the first one told."""


class Painter:
    """Colours one page after another, where the batch's engine runs it."""

    def __init__(
        self,
        colorizer: Colorizer,
        sketches: Sketches,
        targets: Targets,
        options: ColorizeOptions,
        part: Part = "picture",
    ) -> None:
        self.colorizer = colorizer
        self.sketches = sketches
        self.targets = targets
        self.options = options
        self.part = part

    def colour(self, job: Job, decoder: DecoderProcess) -> Outcome:
        """Colour a job's page and write its picture. What is wrong with it is a failed result."""
        start_s = time.monotonic()
        where, stamp = self.sketches.where(job.source), None
        more: list[Job] = []
        try:
            stamp, file = self.sketches.open(job)
            decoded = self.colorizer.decode(file, decoder=decoder, page=job.page - 1)
            if decoded.pages.num_pages > MAX_PAGES:
                raise PictureError(f"more than {MAX_PAGES} pages: split the file")
            # where an earlier run counted the pages, all are jobs already
            if job.page == 1 and job.pages != decoded.pages.num_pages:
                job, *more = all_pages(job, decoded.pages.num_pages)
            with self._open_hints(job) as hints:
                artwork = self.colorizer.draw_decoded(decoded, self.options, hints, decoder=decoder)
            data = artwork.encode(PurePosixPath(job.target).suffix, self.part)
            self.targets.write(job.target, data)
        except AlreadyColouredError as error:
            return Outcome(_make_result(job, "ignored", str(error)), stamp, more)
        except (ColorizerError, OSError, MemoryError) as error:
            reason = str(error).removeprefix(f"{where}: ").removeprefix("the sketch: ")
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

    def _open_hints(self, job: Job) -> AbstractContextManager[Path | None]:
        has_hints = job.page == 1 and job.member is None
        return self.sketches.open_hints(job.source) if has_hints else nullcontext()


Engine = Callable[[deque[Job]], Generator[Outcome, None, None]]
"""Yields the outcomes of jobs as they finish; jobs may be added while it runs."""


def run_batch(
    jobs: Sequence[Job],
    journal: Journal,
    sketches: Sketches,
    targets: Targets,
    engine: Engine,
    *,
    on_result: Callable[[Result], object],
) -> BatchResults:
    """Run the jobs that the journal doesn't record; a broken picture isn't tried again.

    ``on_result`` is called once per job and page, in any order. Temporary files that a killed run
    left in the output folders are removed first.
    """
    targets.clear(jobs)
    before = journal.read(sketches)
    written = journal.written_targets()
    num_pages = {result.source: result.pages for result in before.values()}
    jobs = [page for job in jobs for page in all_pages(job, num_pages.get(job.source, 1))]
    results = {key: before[key] for job in jobs if (key := (job.source, job.page)) in before}
    num_skipped = sum(result.status == "done" for result in results.values())
    for result in results.values():
        on_result(result)
    order = {job.source: number for number, job in reversed(list(enumerate(jobs)))}
    waiting = deque(job for job in jobs if (job.source, job.page) not in before)
    with closing(engine(waiting)) as outcomes:
        for outcome in outcomes:
            result = outcome.result
            waiting.extendleft(reversed(outcome.more))
            if not result.has_picture and result.target in written:
                targets.remove(result.target)  # an earlier run's, with other options
            journal.add(result, outcome.stamp)
            results[result.source, result.page] = result
            on_result(result)
    in_order = sorted(results, key=lambda key: (order[key[0]], key[1]))
    return BatchResults([results[key] for key in in_order], num_skipped)


def colour_in_threads(
    painter: Painter, jobs: deque[Job], workers: int
) -> Generator[Outcome, None, None]:
    """The local engine: threads, each with a decoder process of its own."""
    local = threading.local()
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        lock = threading.Lock()

        def run(job: Job) -> Outcome:
            if not hasattr(local, "decoder"):
                with lock:
                    decoder = DecoderProcess(max_pixels=MAX_SKETCH_PIXELS)
                    local.decoder = stack.enter_context(decoder)
            return painter.colour(job, local.decoder)

        try:
            yield from _run_bounded(pool, run, jobs, 2 * workers)
        finally:
            pool.shutdown(cancel_futures=True)


def all_pages(job: Job, pages: int) -> list[Job]:
    """The jobs for all pages of a job's file."""
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
    pool: ThreadPoolExecutor, run: Callable[[Job], Outcome], waiting: deque[Job], limit: int
) -> Iterator[Outcome]:
    """Yield outcomes as they finish, with at most ``limit`` jobs submitted at a time."""
    running = set[Future[Outcome]]()
    while waiting or running:
        while waiting and len(running) < limit:
            running.add(pool.submit(run, waiting.popleft()))
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


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


def write_report(targets: Targets, shard: Shard, rows: Sequence[dict[str, Any]]) -> str:
    """Write ``report.csv`` and ``report.json``; return the path or address of the former."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(Result.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    name = f"report{shard.suffix}"
    targets.write(f"{name}.csv", table.getvalue().encode())
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    targets.write(f"{name}.json", text.encode())
    return targets.where(f"{name}.csv")
