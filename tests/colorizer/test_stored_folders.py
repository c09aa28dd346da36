"""Batches from and to an object store: what a folder gives, resumed in the same way."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from colorizer.base.object_store import list_files, read_bytes, upload, write_bytes
from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw
from tests.s3_servers import S3Server

SKETCHES = "s3://pairs/sketches/"
COLOURED = "s3://pairs/coloured/"


@pytest.fixture
def folder(tmp_path: Path, s3_store: S3Server) -> Path:
    """Sketches in a folder, and in the bucket."""
    folder = tmp_path / "sketches"
    for number in range(4):
        path = folder / f"frames{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(40 + number, 30).save(path)
    draw(40, 30).save(folder / "pages.tif", save_all=True, append_images=[draw(30, 30)])
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture, and not named as one")
    for path in filter(Path.is_file, folder.rglob("*")):
        upload(path, SKETCHES + path.relative_to(folder).as_posix())
    return folder


def stored(prefix: str) -> dict[str, bytes]:
    """The files below an address, without journals and reports."""
    found = [file.address for file in list_files(prefix)]
    names = {address.removeprefix(prefix): address for address in found}
    kept = {name for name in names if not name.startswith((".colorize", "report"))}
    return {name: read_bytes(names[name]) for name in kept}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".colorize", "report"))
    }


def test_a_batch_in_a_bucket_gives_the_pictures_and_report_of_a_folder(
    run: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    local = run(folder, "-o", tmp_path / "local")
    both = run(SKETCHES.rstrip("/"), "-o", COLOURED.rstrip("/"))
    there = run(folder, "-o", "s3://pairs/there/")
    back = run(SKETCHES, "-o", tmp_path / "back")
    assert {done.code for done in (local, both, there, back)} == {3}
    expected = files(tmp_path / "local")
    assert len(expected) == 6
    assert expected == stored(COLOURED) == stored("s3://pairs/there/") == files(tmp_path / "back")
    assert "6 coloured, 0 skipped (done before), 1 failed; s3://pairs/coloured/report.csv" in (
        both.out
    )
    rows = json.loads(read_bytes(f"{COLOURED}report.json"))
    ours = json.loads((tmp_path / "local" / "report.json").read_text())
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in ours]


def test_a_batch_in_a_bucket_is_resumed(run: Callable[..., Ran], folder: Path) -> None:
    shards = [run(SKETCHES, "-o", COLOURED, "--shard", f"{number}/2") for number in (1, 2)]
    assert sum("1 failed" in done.out for done in shards) == 1
    before = stored(COLOURED)
    again = [run(SKETCHES, "-o", COLOURED, "--shard", f"{number}/2") for number in (1, 2)]
    assert all(done.out.startswith("0 coloured") for done in again)
    upload(folder / "frames1" / "1.png", f"{SKETCHES}frames0/0.png")
    changed = [run(SKETCHES, "-o", COLOURED, "--shard", f"{number}/2") for number in (1, 2)]
    assert sorted(done.out.split()[0] for done in changed) == ["0", "1"]
    now = stored(COLOURED)
    assert {name for name in before if before[name] != now[name]} == {"frames0/0.png"}


def test_pictures_of_a_batch_are_not_taken_for_sketches(
    run: Callable[..., Ran], folder: Path
) -> None:
    assert run(SKETCHES, "-o", f"{SKETCHES}coloured").code == 3
    again = run(SKETCHES, "-o", f"{SKETCHES}coloured")
    assert again.out.startswith("0 coloured, 6 skipped")
    assert "an output folder of this command (coloured)" in again.err
    refused = run(f"{SKETCHES}coloured", "-o", COLOURED)
    assert refused.code == 1
    assert "an output folder of this command" in refused.err


def test_hints_in_a_bucket_belong_to_the_sketch_beside_them(
    run: Callable[..., Ran], folder: Path, hint_folder: Path, tmp_path: Path
) -> None:
    hints = json.dumps([{"x": 10, "y": 10, "colour": "#ff0000"}]).encode()
    (folder / "frames0" / "0.hints.json").write_bytes(hints)
    write_bytes(f"{SKETCHES}frames0/0.hints.json", hints)
    run(folder, "-o", tmp_path / "local", model=hint_folder)
    run(SKETCHES, "-o", COLOURED, model=hint_folder)
    coloured = stored(COLOURED)
    assert coloured == files(tmp_path / "local")
    hints = json.dumps([{"x": 10, "y": 10, "colour": "#0000ff"}]).encode()
    write_bytes(f"{SKETCHES}frames0/0.hints.json", hints)
    assert run(SKETCHES, "-o", COLOURED, model=hint_folder).out.startswith("1 coloured")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["s3://nowhere-to-be-found/a", "-o", "out"], "there is no such bucket"),
        (["s3://pairs/empty", "-o", "out"], "s3://pairs/empty/: no pictures"),
        (["s3:/pairs", "-o", "out"], "must be s3://bucket/key"),
        ([".", "-o", "s3://nowhere-to-be-found/a"], "there is no such bucket"),
    ],
)
def test_what_cannot_work_is_one_line(
    run: Callable[..., Ran],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.code == 1
    assert told in done.err.splitlines()[-1]
    assert not (folder / "out").exists()
