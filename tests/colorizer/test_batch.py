"""Folders: bad files are reported, runs resume, shards together equal the unsharded run."""

import csv
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from colorizer.base.files import atomic_path
from colorizer.batch import Shard, choose_shard
from colorizer.jobs import Job, find_jobs
from tests.colorizer.drawing import draw, painted

NUM_GOOD = 12
BAD = {"b.png": b"no picture", "empty.jpg": b"", "z/cut.png": b"\x89PNG\r\n\x1a\n\0\0"}


@pytest.fixture(scope="module")
def sketches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketches")
    for number in range(NUM_GOOD):
        path = folder / f"frames{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        draw(40 + number, 30).save(path)
    for name, data in BAD.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "notes.txt").write_text("not a picture, and not named as one")
    return folder


def colorize(model: Path, *arguments: object, data: bytes | None = None) -> "Done":
    command = [sys.executable, "-m", "colorizer", *map(str, arguments), "--model", str(model)]
    return subprocess.run(command, capture_output=True, timeout=120, input=data)


Done = subprocess.CompletedProcess[bytes]


def pictures(folder: Path) -> list[Path]:
    """The finished pictures, without the hidden temporary files."""
    return sorted(path for path in folder.rglob("*.png") if not path.name.startswith("."))


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if ".part" in path.name]


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pictures(folder)
    }


def read_report(folder: Path, name: str = "report.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(sketches: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coloured")
    done = colorize(model_folder, sketches, "-o", folder)
    assert done.returncode == 3, done.stderr
    assert (
        f"{NUM_GOOD} coloured, 0 skipped (done before), {len(BAD)} failed; ".encode() in done.stdout
    )
    assert b"b.png: not a picture" in done.stderr
    assert b"Traceback" not in done.stderr
    return folder


def test_the_report_has_a_row_for_every_file(finished: Path) -> None:
    rows = read_report(finished)
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    failed = {row["source"] for row in rows if row["status"] == "failed"}
    assert failed == set(BAD)
    assert all(row["reason"] for row in rows if row["status"] == "failed")
    for row in rows:
        if row["status"] == "done":
            data = (finished / row["target"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
            with Image.open(finished / row["target"]) as picture:
                assert picture.size == (int(row["width"]), int(row["height"]))
    assert json.loads((finished / "report.json").read_text())[0]["source"] == rows[0]["source"]


def test_shards_together_equal_the_unsharded_run(
    finished: Path, sketches: Path, model_folder: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        shard = ("--shard", f"{number}/3", "--workers", 1)
        assert colorize(model_folder, sketches, "-o", tmp_path, *shard).returncode in (0, 3)
    assert hashes(tmp_path) == hashes(finished)
    rows = [row for n in (1, 2, 3) for row in read_report(tmp_path, f"report-{n}-of-3.csv")]
    assert {row["source"] for row in rows} == {row["source"] for row in read_report(finished)}


def test_a_killed_run_resumes_and_ends_like_an_undisturbed_one(
    finished: Path, sketches: Path, model_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "colorizer", str(sketches), "-o", str(tmp_path)]
    for num_wanted in (2, 6):
        process = subprocess.Popen(
            [*command, "--model", str(model_folder), "--workers", "1"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline_s = time.monotonic() + 60
        while len(pictures(tmp_path)) < num_wanted and process.poll() is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in pictures(tmp_path)}
    assert colorize(model_folder, sketches, "-o", tmp_path).returncode == 3
    assert hashes(tmp_path) == hashes(finished)
    rows = {row["source"]: row for row in read_report(tmp_path)}
    assert {k: v["sha256"] for k, v in rows.items()} == {
        row["source"]: row["sha256"] for row in read_report(finished)
    }
    kept = [path for path, changed in before.items() if path.stat().st_mtime_ns == changed]
    assert len(kept) >= len(before) - 1  # killed between a picture and its journal line
    assert partial_files(tmp_path) == []


def test_partial_files_of_a_killed_run_are_removed_even_if_nothing_is_left_to_do(
    finished: Path, sketches: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    abandoned = out / "frames0" / ".00.a1b2c3d4.part.png"
    in_use = out / "frames1" / ".01.a1b2c3d4.part.png"
    mine = out / "frames1" / ".part.png"
    for path in (abandoned, in_use, mine):
        path.write_bytes(b"\x89PNG")
    with in_use.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = colorize(model_folder, sketches, "-o", out)
    assert done.returncode == 3, done.stderr
    summary = f"0 coloured, {NUM_GOOD} skipped (done before), {len(BAD)} failed; "
    assert summary in done.stdout.decode()
    assert sorted(partial_files(out)) == sorted([in_use, mine])
    assert hashes(out) == hashes(finished)


def test_partial_files_are_not_coloured(tmp_path: Path) -> None:
    draw().save(tmp_path / "a.png")
    with atomic_path(tmp_path / "b.png") as partial:
        draw().save(partial)
        assert [job.source for job in find_jobs(tmp_path, ".png").jobs] == ["a.png"]
    assert [job.source for job in find_jobs(tmp_path, ".png").jobs] == ["a.png", "b.png"]


def test_pictures_are_coloured_again_only_with_other_options(
    sketches: Path, model_folder: Path, tmp_path: Path
) -> None:
    colorize(model_folder, sketches, "-o", tmp_path)
    plain, changed = hashes(tmp_path), tmp_path / "frames0" / "00.png"
    when = changed.stat().st_mtime_ns
    colorize(model_folder, sketches, "-o", tmp_path)
    assert changed.stat().st_mtime_ns == when
    colorize(model_folder, sketches, "-o", tmp_path, "--line-strength", 0.5)
    assert hashes(tmp_path) != plain
    colorize(model_folder, sketches, "-o", tmp_path)
    assert hashes(tmp_path) == plain


@pytest.mark.parametrize("count", [1, 2, 8, 30])
def test_shards_are_disjoint_and_complete(count: int) -> None:
    jobs = [Job(source=f"{number}", target="", page_stem="") for number in range(20)]
    parts = [choose_shard(jobs, Shard(number=i, count=count)) for i in range(1, count + 1)]
    assert sorted(job.source for part in parts for job in part) == sorted(j.source for j in jobs)


@pytest.mark.parametrize(("number", "count"), [(0, 1), (2, 1), (1, 0)])
def test_an_invalid_shard_is_refused(number: int, count: int) -> None:
    with pytest.raises(ValueError, match="must be i/n"):
        Shard(number=number, count=count)


@pytest.mark.parametrize(
    ("choice", "status", "words"),
    [("copy", "copied", b"1 copied"), ("skip", "ignored", b"1 left alone")],
)
def test_a_coloured_cover_is_reported_by_name_and_drawings_are_coloured(
    tmp_path: Path, model_folder: Path, choice: str, status: str, words: bytes
) -> None:
    pages, out = tmp_path / "pages", tmp_path / "out"
    pages.mkdir()
    grey = draw(120, 80).convert("L")
    painted(120, 80).save(pages / "cover.png")
    ImageOps.colorize(grey, (70, 45, 20), (250, 225, 170)).save(pages / "sepia.png")
    ImageOps.colorize(grey, (90, 140, 230), "white").save(pages / "pencil.png")
    for _ in range(2):  # the second run resumes
        done = colorize(model_folder, pages, "-o", out, "--coloured", choice, "--workers", 1)
        assert done.returncode == 0, done.stderr
        assert words + b" (coloured already" in done.stdout
        assert b"cover.png: coloured already" in done.stderr
        rows = {row["source"]: row["status"] for row in read_report(out)}
        assert rows == {"cover.png": status, "pencil.png": "done", "sepia.png": "done"}
    assert b"0 coloured, 2 skipped" in done.stdout
    assert (out / "cover.png").exists() == (choice == "copy")
