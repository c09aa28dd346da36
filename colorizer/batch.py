"""A folder of sketches → a folder of pictures: resumable, and one bad file never stops the rest.

What is done stands in a journal in the output folder, a line a file; begun again with the same
wishes, what stands there is not done again. Shards are disjoint parts of the same sorted list.
"""

import csv
import hashlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.base.files import write_bytes
from colorizer.look.artwork import Part
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
from colorizer.pictures.guard import PictureGuard
from colorizer.runtime import ColorizeOptions, Colorizer

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shard must be i/n with 1 ≤ i ≤ n, got {self.number}/{self.count}")

    @property
    def suffix(self) -> str:
        """For names of files that are this shard's own."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One sketch, and where its picture goes; relative to the two folders."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a job: a row of the report."""

    source: str
    target: str
    status: str
    """done | failed"""
    reason: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    """Of the picture's file."""
    seconds: float = 0.0


def find_jobs(sources: Path, suffix: str) -> list[Job]:
    """Every file below a folder that is named as a picture, sorted; folders are kept.

    Raises :class:`PictureError` if there is none.
    """
    found = sorted(
        path.relative_to(sources).as_posix()
        for path in sources.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise PictureError(f"{sources}: no pictures ({', '.join(SUFFIXES)})")
    stems = [Path(source).with_suffix("").as_posix() for source in found]
    counts = Counter(stems)
    return [
        Job(source=source, target=f"{source if counts[stem] > 1 else stem}{suffix}")
        for source, stem in zip(found, stems, strict=True)
    ]


def choose_shard(jobs: Sequence[Job], shard: Shard) -> list[Job]:
    """Every ``count``-th job."""
    return list(jobs[shard.number - 1 :: shard.count])


class Journal:
    """Results on disk, a JSON line each; those of other wishes, files or models don't count."""

    def __init__(self, folder: Path, shard: Shard, key: str) -> None:
        self.path = folder / f".colorize{shard.suffix}.jsonl"
        self.key = key
        self._lock = threading.Lock()

    def read(self, sources: Path, targets: Path) -> dict[str, Result]:
        """What was done before and still stands, by source."""
        last: dict[str, dict[str, Any]] = {}
        data = self.path.read_bytes() if self.path.exists() else b""
        if data and not data.endswith(b"\n"):  # cut off while it was written
            with self.path.open("ab") as file:
                file.write(b"\n")
        for line in data.splitlines():
            try:
                entry = json.loads(line)
                last[entry["result"]["source"]] = entry
            except (ValueError, TypeError, KeyError):
                continue
        results = (self._still_stands(entry, sources, targets) for entry in last.values())
        return {result.source: result for result in results if result}

    def _still_stands(self, entry: dict[str, Any], sources: Path, targets: Path) -> Result | None:
        try:
            result = Result(**entry["result"])
            if [entry["key"], entry["stamp"]] != [self.key, stamp(sources / result.source)]:
                return None
        except (TypeError, KeyError, OSError):
            return None
        is_there = result.status == "failed" or (targets / result.target).is_file()
        return result if is_there else None

    def add(self, sources: Path, result: Result) -> None:
        """Append a result."""
        entry = {"key": self.key, "stamp": _stamp_or_none(sources / result.source)}
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry | {"result": asdict(result)}) + "\n")


def stamp(path: Path) -> list[int]:
    """A file's size and time of change. Raises :class:`OSError`."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _stamp_or_none(path: Path) -> list[int] | None:
    try:
        return stamp(path)
    except OSError:
        return None


def options_key(model_sha256: str, options: ColorizeOptions, part: Part) -> str:
    """What a picture depends on, beside its sketch."""
    reference = hashlib.sha256(options.reference.tobytes()).hexdigest() if options.reference else ""
    parts = [model_sha256, options.clean, options.opaque, options.seed, options.palette, reference]
    parts += [options.line_strength, part]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Batch:
    """Colours jobs in threads; pictures are decoded in a guarded process beside each."""

    def __init__(
        self,
        colorizer: Colorizer,
        sources: Path,
        targets: Path,
        options: ColorizeOptions,
        part: Part = "picture",
    ) -> None:
        self.colorizer = colorizer
        self.sources = sources
        self.targets = targets
        self.options = options
        self.part = part

    def run(
        self,
        jobs: Sequence[Job],
        journal: Journal,
        *,
        workers: int,
        told: Callable[[Result], object],
    ) -> list[Result]:
        """Do what isn't done yet; ``told`` is called for every job, in no order."""
        before = journal.read(self.sources, self.targets)
        results = {job.source: before[job.source] for job in jobs if job.source in before}
        for result in results.values():
            told(result)
        waiting = [job for job in jobs if job.source not in before]
        for result in self._run_all(waiting, workers):
            journal.add(self.sources, result)
            results[result.source] = result
            told(result)
        return [results[job.source] for job in jobs]

    def _run_all(self, jobs: Sequence[Job], workers: int) -> Iterator[Result]:
        local = threading.local()
        with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
            lock = threading.Lock()

            def run(job: Job) -> Result:
                if not hasattr(local, "guard"):
                    with lock:
                        guard = PictureGuard(max_pixels=MAX_SKETCH_PIXELS)
                        local.guard = stack.enter_context(guard)
                return self._run_one(job, local.guard)

            try:
                yield from _in_flight(pool, run, jobs, 2 * workers)
            finally:
                pool.shutdown(cancel_futures=True)

    def _run_one(self, job: Job, guard: PictureGuard) -> Result:
        start_s = time.monotonic()
        target = self.targets / job.target
        try:
            artwork = self.colorizer.draw(self.sources / job.source, self.options, guard=guard)
            data = artwork.encode(target.suffix, self.part)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, data)
        except (ColorizerError, OSError, MemoryError) as error:
            target.unlink(missing_ok=True)  # of an earlier run, with other wishes
            reason = str(error).removeprefix(f"{self.sources / job.source}: ") or "out of memory"
            return Result(source=job.source, target=job.target, status="failed", reason=reason)
        width, height = artwork.colour.size
        return Result(
            source=job.source,
            target=job.target,
            status="done",
            width=width,
            height=height,
            sha256=hashlib.sha256(data).hexdigest(),
            seconds=round(time.monotonic() - start_s, 3),
        )


def _in_flight(
    pool: ThreadPoolExecutor, run: Callable[[Job], Result], jobs: Sequence[Job], limit: int
) -> Iterator[Result]:
    """Results as they come; no more than ``limit`` pictures are in memory."""
    running: set[Future[Result]] = set()
    for job in jobs:
        running.add(pool.submit(run, job))
        if len(running) >= limit:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def write_report(folder: Path, shard: Shard, results: Sequence[Result]) -> Path:
    """Write ``report.csv`` and ``report.json``; return the former."""
    rows = [asdict(result) for result in results]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(Result.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / f"report{shard.suffix}.csv"
    write_bytes(path, table.getvalue().encode())
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path.with_suffix(".json"), text.encode())
    return path
