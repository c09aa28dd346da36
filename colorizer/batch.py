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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.base.files import remove_abandoned, write_bytes
from colorizer.look.artwork import Part
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
from colorizer.runtime import ColorizeOptions, Colorizer

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


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
class Job:
    """One sketch and its picture: paths relative to the input and the output folder."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one job: a row of the report."""

    source: str
    target: str
    status: str
    """done | failed"""
    reason: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    """Of the picture's file, in hexadecimal."""
    seconds: float = 0.0


def find_jobs(sources: Path, suffix: str) -> list[Job]:
    """Every picture file below a folder by its suffix, sorted; the subfolders are kept.

    Hidden files are left out: a killed writer's temporary files are hidden. Raises
    :class:`PictureError` if there is no picture.
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
    """Every ``count``-th job, beginning at the shard's number."""
    return list(jobs[shard.number - 1 :: shard.count])


class Journal:
    """Results on disk, a JSON line each, with the key of their options and model."""

    def __init__(self, folder: Path, shard: Shard, key: str) -> None:
        self.path = folder / f".colorize{shard.suffix}.jsonl"
        self.key = key
        self._lock = threading.Lock()

    def read(self, sources: Path, targets: Path) -> dict[str, Result]:
        """Source → result of earlier runs, if its key, sketch and picture are still the same."""
        last: dict[str, dict[str, Any]] = {}
        data = self.path.read_bytes() if self.path.exists() else b""
        if data and not data.endswith(b"\n"):  # a killed writer's last line
            with self.path.open("ab") as file:
                file.write(b"\n")
        for line in data.splitlines():
            try:
                entry = json.loads(line)
                last[entry["result"]["source"]] = entry
            except (ValueError, TypeError, KeyError):
                continue
        results = (self._check(entry, sources, targets) for entry in last.values())
        return {result.source: result for result in results if result}

    def _check(self, entry: dict[str, Any], sources: Path, targets: Path) -> Result | None:
        try:
            result = Result(**entry["result"])
            if [entry["key"], entry["stamp"]] != [
                self.key,
                size_and_mtime(sources / result.source),
            ]:
                return None
        except (TypeError, KeyError, OSError):
            return None
        is_valid = result.status == "failed" or (targets / result.target).is_file()
        return result if is_valid else None

    def add(self, sources: Path, result: Result) -> None:
        """Append a result."""
        try:
            stamp = size_and_mtime(sources / result.source)
        except OSError:
            stamp = None
        entry = {"key": self.key, "stamp": stamp}
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry | {"result": asdict(result)}) + "\n")


def size_and_mtime(path: Path) -> list[int]:
    """A file's size in bytes and modification time in ns. Raises :class:`OSError`."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def options_key(model_sha256: str, options: ColorizeOptions, part: Part) -> str:
    """A hash of all that a picture depends on except its sketch."""
    reference = hashlib.sha256(options.reference.tobytes()).hexdigest() if options.reference else ""
    parts = [model_sha256, options.clean, options.opaque, options.seed, options.palette, reference]
    parts += [options.line_strength, part]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class BatchResults(NamedTuple):
    """The results of a run."""

    results: list[Result]
    """One per job, in the jobs' order; with those of earlier runs."""
    num_skipped: int
    """Pictures that an earlier run had coloured."""

    @property
    def num_failed(self) -> int:
        """Jobs that failed, in this or an earlier run."""
        return sum(result.status == "failed" for result in self.results)

    @property
    def num_coloured(self) -> int:
        """Pictures that this run coloured."""
        return len(self.results) - self.num_skipped - self.num_failed


class Batch:
    """Colours jobs in threads, each with a decoder process of its own."""

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
        on_result: Callable[[Result], object],
    ) -> BatchResults:
        """Run the jobs that the journal doesn't record; a failed one isn't tried again.

        ``on_result`` is called once per job, in any order. Temporary files that a killed run left
        in the output folders are removed first.
        """
        for folder in {self.targets, *((self.targets / job.target).parent for job in jobs)}:
            remove_abandoned(folder)
        before = journal.read(self.sources, self.targets)
        results = {job.source: before[job.source] for job in jobs if job.source in before}
        num_skipped = sum(result.status == "done" for result in results.values())
        for result in results.values():
            on_result(result)
        waiting = [job for job in jobs if job.source not in before]
        for result in self._run_all(waiting, workers):
            journal.add(self.sources, result)
            results[result.source] = result
            on_result(result)
        return BatchResults([results[job.source] for job in jobs], num_skipped)

    def _run_all(self, jobs: Sequence[Job], workers: int) -> Iterator[Result]:
        local = threading.local()
        with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
            lock = threading.Lock()

            def run(job: Job) -> Result:
                if not hasattr(local, "decoder"):
                    with lock:
                        decoder = DecoderProcess(max_pixels=MAX_SKETCH_PIXELS)
                        local.decoder = stack.enter_context(decoder)
                return self._run_one(job, local.decoder)

            try:
                yield from _run_bounded(pool, run, jobs, 2 * workers)
            finally:
                pool.shutdown(cancel_futures=True)

    def _run_one(self, job: Job, decoder: DecoderProcess) -> Result:
        start_s = time.monotonic()
        target = self.targets / job.target
        try:
            artwork = self.colorizer.draw(self.sources / job.source, self.options, decoder=decoder)
            data = artwork.encode(target.suffix, self.part)
            write_bytes(target, data)
        except (ColorizerError, OSError, MemoryError) as error:
            target.unlink(missing_ok=True)  # of an earlier run with other options
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


def _run_bounded(
    pool: ThreadPoolExecutor, run: Callable[[Job], Result], jobs: Sequence[Job], limit: int
) -> Iterator[Result]:
    """Yield results as they finish, with at most ``limit`` jobs submitted at a time."""
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
    """Write ``report.csv`` and ``report.json``; return the path of the former."""
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
