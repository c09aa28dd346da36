"""What real folders hold: odd names, pipes, links, obstacles, pages, the output folder itself."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw, save_frames

Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    draw().save(folder / "a.png")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rows(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert len((out / "report.csv").read_text(encoding="utf-8").splitlines()) == len(found) + 1
    return {row["source"]: row for row in found}


def reasons(out: Path, status: str = "failed") -> dict[str, str]:
    found = rows(out).items()
    return {name: row["reason"] for name, row in found if row["status"] == status}


def names(out: Path) -> list[bytes]:
    return sorted(os.fsencode(path.relative_to(out)) for path in out.rglob("*.png"))


def test_names_of_any_bytes_are_coloured_reported_and_resumed(
    run: Run, folder: Path, out: Path
) -> None:
    odd = [b"caf\xe9.png", b"two\nlines.png", b"\x1b[31mred.png", b"l" * 251 + b".png"]
    for name in odd:
        draw().save(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"bad\xff\n.png")).write_bytes(b"no picture")
    for counts in ("5 coloured, 0 skipped", "0 coloured, 5 skipped"):
        done = run(folder, "-o", out)
        assert (done.code, counts in done.out) == (3, True)
        assert "bad\\xff\\n.png: not a picture" in done.err
    assert names(out) == sorted([b"a.png", *odd])
    assert {"caf\\xe9.png", "two\\nlines.png", "\\x1b[31mred.png"} <= set(rows(out))
    assert len(json.loads(run(folder, "-o", out, "--json").out)) == 6
    shards = [run(folder, "-o", out, "--shard", f"{number}/2").code for number in (1, 2)]
    assert sorted(shards) == [0, 3]


def test_a_folder_named_like_a_picture_is_a_folder(run: Run, folder: Path, out: Path) -> None:
    (folder / "x.png").mkdir()
    draw().save(folder / "x.png" / "b.png")
    for options in ((), ("--line-strength", 0.5)):
        assert run(folder, "-o", out, *options).code == 0
    assert names(out) == [b"a.png", b"x.png", b"x.png/b.png"]


def test_what_is_no_readable_file_is_reported_with_its_reason(
    run: Run, folder: Path, out: Path
) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    done = run(folder, "-o", out)
    assert (done.code, "1 coloured, 0 skipped (done before), 4 failed" in done.out) == (3, True)
    assert reasons(out) == {
        "pipe.png": "not a file but a pipe, socket or device",
        "empty.png": "the file is empty",
        "dangling.png": "a link to a file that doesn't exist",
        "loop.png": "can't be read: Too many levels of symbolic links",
    }


def test_an_obstacle_stops_one_picture_which_is_tried_again(
    run: Run, folder: Path, out: Path
) -> None:
    (folder / "s").mkdir()
    draw().save(folder / "s" / "b.png")
    draw().save(folder / "c.png")
    (out / "a.png").mkdir(parents=True)
    (out / "s").write_text("somebody's")
    done = run(folder, "-o", out)
    assert (done.code, "1 coloured, 0 skipped (done before), 2 failed" in done.out) == (3, True)
    assert {name: "can't write" in reason for name, reason in reasons(out).items()} == {
        "a.png": True,
        "s/b.png": True,
    }
    assert (out / "s").read_text() == "somebody's"
    (out / "a.png").rmdir()
    (out / "s").unlink()
    assert "2 coloured, 1 skipped (done before), 0 failed" in run(folder, "-o", out).out


def test_an_unwritable_output_folder_is_refused_in_one_line(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    done = run(folder, "-o", "/proc/nothing" if os.getuid() else "/proc")
    assert (done.code, done.err.count("\n"), done.out) == (1, 1, "")


def test_only_pictures_of_this_command_are_removed_after_a_failure(
    run: Run, folder: Path, out: Path
) -> None:
    out.mkdir()
    (out / "b.png").write_text("somebody's")
    (folder / "b.png").write_bytes(b"no picture")
    assert run(folder, "-o", out).code == 3
    assert (out / "b.png").read_text() == "somebody's"
    (folder / "a.png").write_bytes(b"no picture now")
    assert run(folder, "-o", out).code == 3
    assert names(out) == [b"b.png"]


def test_every_page_of_a_tiff_is_coloured_and_a_missing_one_again(
    run: Run, folder: Path, out: Path
) -> None:
    save_frames(folder / "doc.tif")
    save_frames(folder / "anim.gif")
    done = run(folder, "-o", out)
    assert (done.code, "5 coloured" in done.out) == (0, True)
    assert "anim.gif: only frame 1 of 3 is coloured" in done.err
    assert "doc.tif: 3 pages" in done.err
    pages = [b"doc_01.png", b"doc_02.png", b"doc_03.png"]
    assert names(out) == [b"a.png", b"anim.png", *pages]
    found = json.loads((out / "report.json").read_text())
    assert [row["target"] for row in found if row["pages"] == 3] == [os.fsdecode(p) for p in pages]
    whole = [(out / os.fsdecode(page)).read_bytes() for page in pages]
    assert len(set(whole)) == 3
    (out / "doc_02.png").unlink()
    assert "1 coloured, 4 skipped" in run(folder, "-o", out).out
    assert [(out / os.fsdecode(page)).read_bytes() for page in pages] == whole


def test_a_missing_first_page_alone_is_coloured_again(run: Run, folder: Path, out: Path) -> None:
    save_frames(folder / "doc.tif")
    run(folder, "-o", out)
    (out / "doc_01.png").unlink()
    before = (out / ".colorize.jsonl").read_text().splitlines()
    assert "1 coloured, 3 skipped" in run(folder, "-o", out).out
    assert len((out / ".colorize.jsonl").read_text().splitlines()) == len(before) + 1


def test_what_is_not_taken_is_counted_and_named(run: Run, folder: Path, out: Path) -> None:
    draw().save(folder / "b.jfif", "JPEG")
    (folder / "c.svg").write_text("<svg/>")
    done = run(folder, "-o", out)
    assert (done.code, "2 coloured, 0 skipped (done before), 0 failed" in done.out) == (0, True)
    assert "1 not taken: not a picture by its ending (c.svg)" in done.err
    assert reasons(out, "ignored") == {"c.svg": "not a picture by its ending"}
    assert rows(out)["b.jfif"]["status"] == "done"


def test_an_output_folder_in_the_input_folder_is_not_coloured_again(run: Run, folder: Path) -> None:
    for counts in ("1 coloured, 0 skipped", "0 coloured, 1 skipped"):
        assert counts in run(folder, "-o", folder / "out").out
    assert "1 coloured, 0 skipped" in run(folder, "-o", folder / "other").out
    assert names(folder) == [b"a.png", b"other/a.png", b"out/a.png"]


def test_no_sketch_is_overwritten_by_another_ones_picture(run: Run, folder: Path) -> None:
    (folder / "s" / "s").mkdir(parents=True)
    for name in ("s/a.png", "s/s/a.png"):
        draw().save(folder / name)
    before = (folder / "s" / "a.png").read_bytes()
    done = run(folder / "s", "-o", folder)
    assert (done.code, "is an input, which would be overwritten" in done.err) == (3, True)
    assert (folder / "s" / "a.png").read_bytes() == before
