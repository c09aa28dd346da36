"""A folder's sketches: found whatever lies beside them, and named apart."""

import os
from pathlib import Path

import pytest

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.jobs import find_jobs


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def targets(folder: Path) -> dict[str, str]:
    return {job.source: job.target for job in find_jobs(folder, ".png").jobs}


def test_equal_stems_get_different_names(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.jpg", "b.webp", ".hidden.png")
    assert targets(tmp_path) == {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.webp": "b.png"}


def test_no_two_outputs_share_a_name_even_where_case_and_accents_are_ignored(
    tmp_path: Path,
) -> None:
    fill(tmp_path, "a.png", "a.jpg", "a.jpg.png", "B.png", "b.jpg", "e\u0301.png", "\xe9.gif")
    names = targets(tmp_path)
    assert len(names) == 7
    assert len({name.casefold() for name in names.values()}) == 7
    assert names["a.jpg.png"] == "a.jpg.png"  # its own stem comes first
    assert names["a.jpg"] == "a.jpg-2.png"
    assert names["\xe9.gif"] == "\xe9.gif.png"


def test_no_output_lies_where_a_folder_of_outputs_must(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.png/c.png", "b.gif", "B.png/c.png", "b.gif.png/c.png")
    assert targets(tmp_path) == {
        "a.jpg": "a.jpg.png",
        "a.png/c.png": "a.png/c.png",
        "b.gif": "b.gif-2.png",
        "B.png/c.png": "B.png/c.png",
        "b.gif.png/c.png": "b.gif.png/c.png",
    }


def test_pages_are_named_apart_from_other_sketches(tmp_path: Path) -> None:
    fill(tmp_path, "doc.tif", "doc_01.png", "other.tif", "s/doc.tif")
    jobs = {job.source: job for job in find_jobs(tmp_path, ".png").jobs}
    assert jobs["other.tif"].of_page(2, 3).target == "other_02.png"
    assert jobs["other.tif"].of_page(2, 120).target == "other_002.png"
    assert jobs["other.tif"].of_page(1, 1).target == "other.png"
    assert jobs["doc.tif"].of_page(1, 2).target == "doc.tif_01.png"
    assert jobs["s/doc.tif"].of_page(1, 2).target == "s/doc_01.png"


def test_no_pages_name_is_anothers_even_where_case_is_ignored_or_a_folders(tmp_path: Path) -> None:
    fill(tmp_path, "Cased.tif", "cased_01.png", "old.tif", "old_02.png/a.png")
    fill(tmp_path, "twice.tif", "twice_01.png", "twice.tif_01.png")
    jobs = {job.source: job for job in find_jobs(tmp_path, ".png").jobs}
    assert jobs["Cased.tif"].of_page(1, 2).target == "Cased.tif_01.png"
    assert jobs["old.tif"].of_page(2, 2).target == "old.tif_02.png"
    assert jobs["twice.tif"].of_page(1, 2).target == "twice.tif-2_01.png"


def test_pages_of_names_that_differ_in_case_alone_are_named_apart(tmp_path: Path) -> None:
    fill(tmp_path, "Doc.tif", "doc.tif", "doc.tif_01.png", "doc.tif-2_01.png")
    jobs = {job.source: job for job in find_jobs(tmp_path, ".png").jobs}
    first_pages = [jobs[name].of_page(1, 2).target for name in ("Doc.tif", "doc.tif")]
    assert first_pages == ["Doc.tif-3_01.png", "doc.tif-4_01.png"]


def test_what_is_not_taken_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.JFIF", "b.jpe", "c.dib", "e.tif", "k.svg", "s/n.txt", ".thumbs/x.db")
    (tmp_path / "linked").symlink_to("s")
    found = find_jobs(tmp_path, ".png")
    assert [job.source for job in found.jobs] == ["a.JFIF", "b.jpe", "c.dib", "e.tif"]
    assert dict(found.ignored) == {
        "k.svg": "not a picture by its ending",
        "s/n.txt": "not a picture by its ending",
        "linked": "a link to a folder, which isn't followed",
    }


@pytest.mark.parametrize("names", [(), ("k.svg",)])
def test_a_folder_without_pictures_is_refused_with_what_it_holds(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    fill(tmp_path, *names)
    with pytest.raises(PictureError, match="no pictures.*" + r"\(k\.svg\)" * len(names)):
        find_jobs(tmp_path, ".png")


def test_the_input_folder_is_no_output_folder_by_any_name(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", "in/s/b.png")
    (tmp_path / "link").symlink_to("in")
    for output in ("in", "in/.", "in/s/..", "link"):
        with pytest.raises(ColorizerError, match="the output is the input itself"):
            find_jobs(tmp_path / "in", ".png", tmp_path / output)
    assert len(find_jobs(tmp_path / "in", ".png", tmp_path / "new").jobs) == 2


def test_output_folders_in_the_input_folder_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "now/a.png", "now/.colorize.jsonl")
    fill(tmp_path, "s/before/a.png", "s/before/.colorize-1-of-2.jsonl")
    found = find_jobs(tmp_path, ".png", tmp_path / "now")
    assert [job.source for job in found.jobs] == ["a.png"]
    assert [name for name, _ in found.ignored] == ["now", "s/before"]


def test_a_folder_of_sketches_is_no_output_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "chapter/a.png", "fresh/notes.txt")
    with pytest.raises(ColorizerError, match="holds pictures that this command didn't make"):
        find_jobs(tmp_path, ".png", tmp_path / "chapter")
    found = find_jobs(tmp_path, ".png", tmp_path / "fresh")
    assert [job.source for job in found.jobs] == ["a.png", "chapter/a.png"]


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    fill(tmp_path, name, "two\nlines.png")
    assert targets(tmp_path) == {
        name: os.fsdecode(b"caf\xe9.png"),
        "two\nlines.png": "two\nlines.png",
    }
