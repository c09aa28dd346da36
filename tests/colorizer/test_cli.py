"""``colorize``: files, pipes, and its error messages."""

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from colorizer import cli
from colorizer.base.errors import ModelFolderError
from colorizer.pictures.decoding import Decoded
from colorizer.pictures.sketch import to_sketch
from colorizer.runtime import ColorizeOptions, Colorizer
from tests.colorizer.conftest import Ran, copy_as_toy
from tests.colorizer.drawing import draw, ink_alone, painted, png, save_frames
from tests.colorizer.test_batch import Done, colorize


@pytest.fixture
def sketch(tmp_path: Path) -> Path:
    path = tmp_path / "sketch.png"
    path.write_bytes(png(draw(70, 50)))
    return path


def test_a_file_is_coloured(sketch: Path, model_folder: Path, tmp_path: Path) -> None:
    done = colorize(model_folder, sketch, "-o", tmp_path / "out.webp", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["width"] == 70
    with Image.open(tmp_path / "out.webp") as picture:
        assert picture.size == (70, 50)


def test_a_missing_output_folder_is_created(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no" / "out.png"
    done = colorize(model_folder, sketch, "-o", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as picture:
        assert picture.size == (70, 50)


def test_layers_are_written_as_openraster(sketch: Path, model_folder: Path, tmp_path: Path) -> None:
    assert colorize(model_folder, sketch, "-o", tmp_path / "out.ora").returncode == 0
    assert "stack.xml" in zipfile.ZipFile(tmp_path / "out.ora").namelist()


def test_a_pipe_gives_the_same_picture_as_a_file(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    look = ("--seed", 3, "--palette", "#ff8800,#2244aa", "--clean", "--only", "colour")
    assert colorize(model_folder, sketch, "-o", tmp_path / "out.png", *look).returncode == 0
    piped = colorize(model_folder, "-", "-o", "-", *look, data=sketch.read_bytes())
    assert piped.stdout == (tmp_path / "out.png").read_bytes()
    assert Image.open(io.BytesIO(piped.stdout)).size == (70, 50)


def test_a_sketch_is_read_from_another_commands_pipe(
    run: Callable[..., Ran], sketch: Path, tmp_path: Path
) -> None:
    """Bash's ``<(command)`` is a pipe's name, which no other process can open."""
    source, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(sketch.read_bytes())  # fewer bytes than a pipe holds
    for name, given in (("file", sketch), ("pipe", f"/dev/fd/{source}")):
        assert run(given, "-o", tmp_path / f"{name}.png").code == 0
    os.close(source)
    assert (tmp_path / "pipe.png").read_bytes() == (tmp_path / "file.png").read_bytes()


def test_only_lines_writes_the_cleaned_lines(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lines.png"
    assert colorize(model_folder, sketch, "-o", out, "--clean", "--only", "lines").returncode == 0
    with Image.open(sketch) as drawing, Image.open(out) as lines:
        cleaned = to_sketch(Decoded(drawing.convert("RGB"), None), clean=True).lines
        assert np.array_equal(np.asarray(lines), np.asarray(cleaned))


def test_a_cut_out_reference_gives_its_own_colours(
    run: Callable[..., Ran], sketch: Path, tmp_path: Path
) -> None:
    figure = Image.new("RGB", (60, 60), (40, 90, 200))
    figure.paste((200, 60, 60), (0, 0, 30, 60))
    cut_out = Image.new("RGBA", (200, 200), (255, 255, 255, 0))
    cut_out.paste(figure.convert("RGBA"), (70, 70))
    figure.save(tmp_path / "figure.png")
    cut_out.save(tmp_path / "cut_out.png")

    def coloured(*options: object) -> npt.NDArray[np.int_]:
        done = run(sketch, "-o", tmp_path / "out.png", *options)
        assert done.code == 0, done.err
        with Image.open(tmp_path / "out.png") as picture:
            return np.asarray(picture).astype(int)

    opaque = coloured("--reference", tmp_path / "figure.png")
    assert np.abs(coloured("--reference", tmp_path / "cut_out.png") - opaque).mean() < 2
    assert np.abs(coloured() - opaque).mean() > 10


def test_every_option_of_the_look_reaches_the_runtime() -> None:
    given: dict[str, Any] = {
        "clean": True,
        "opaque": True,
        "seed": 3,
        "palette": "#ff8800",
        "reference": Image.new("RGB", (2, 2), "red"),
        "keep_skin": True,
        "line_strength": 0.5,
        "coloured": "colour",
    }
    assert list(given) == [field.name for field in dataclasses.fields(ColorizeOptions)]
    words = "in.png -o out.png --clean --opaque --seed 3 --palette #ff8800 --keep-skin"
    words += " --line-strength 0.5 --coloured colour"
    arguments = cli.make_parser().parse_args(words.split())
    assert cli.make_options(arguments, given["reference"]) == ColorizeOptions(**given)


def test_a_reference_without_colours_is_refused_by_name(
    run: Callable[..., Ran], sketch: Path, tmp_path: Path
) -> None:
    out, reference = tmp_path / "out.png", tmp_path / "reference.png"
    for data, reason in (
        (png(Image.new("RGBA", (9, 9))), "the reference is wholly transparent"),
        (png(draw(70, 50).convert("L")), "the reference is black and white"),
        (b"text", f"--reference {reference}: not a picture"),
    ):
        reference.write_bytes(data)
        done = run(sketch, "-o", out, "--reference", reference)
        assert (done.code, out.exists()) == (1, False)
        assert reason in done.err


def test_colours_that_would_be_transparent_are_noted(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    with Image.open(sketch) as drawing:
        ink_alone(drawing).save(sketch)
    bare = colorize(model_folder, sketch, "-o", tmp_path / "bare.png")
    assert (bare.returncode, b"--opaque composites" in bare.stderr) == (0, True)
    on_white = colorize(model_folder, sketch, "-o", tmp_path / "out.png", "--opaque")
    assert (on_white.returncode, on_white.stderr) == (0, b"")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.mode == "RGB"


def refused(done: Done, reason: str, code: int = 1) -> None:
    assert done.returncode == code
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_invalid_input_is_refused_with_its_reason(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    text = tmp_path / "text.png"
    text.write_text("hello")
    refused(colorize(model_folder, text, "-o", out), "not a picture")
    refused(colorize(model_folder, tmp_path / "none.png", "-o", out), "no such file")
    refused(colorize(model_folder, sketch, "-o", tmp_path / "out.psd"), "name it .png")
    refused(colorize(model_folder, sketch, "-o", text / "out.png"), "can't be written (")
    refused(
        colorize(model_folder, sketch, "-o", out, "--palette", "red"), "--palette: palette must", 2
    )
    refused(colorize(model_folder, sketch, "-o", out, "--seed=-1"), "--seed: must be ≥ 0", 2)
    refused(colorize(tmp_path, sketch, "-o", out), "dvc repro export")
    refused(colorize(model_folder, sketch, "-o", out, "--shard", "3/2"), "must be I/N", 2)
    refused(colorize(model_folder, tmp_path, "-o", "-"), "-o/--output: must be a folder", 2)
    assert not out.exists()


def test_a_missing_model_is_reported_with_how_to_make_one(sketch: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colorizer", str(sketch), "-o", "out.png"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    refused(done, f"{tmp_path}/models/colorizer doesn't exist (models/colorizer is looked for in")
    refused(done, "Set --model or COLORIZER_MODEL")
    refused(done, "`make repro` makes one")


def test_a_wrong_model_is_reported_by_what_is_wrong(
    sketch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for model, reason in (
        ("nothere", f"no model folder nothere in {tmp_path}; "),
        ("tiny@candidate", "did you mean models:/tiny@candidate?"),
        ("tiny/3", "did you mean models:/tiny/3?"),
        (str(tmp_path), f"{tmp_path}: not an exported model: no checksums.json; "),
        (str(sketch), f"{sketch}: a model is a folder, not a file; "),
    ):
        with pytest.raises(ModelFolderError, match=re.escape(reason)):
            Colorizer.load(model)


def test_an_input_that_is_not_there_is_all_that_is_reported(
    run: Callable[..., Ran], sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    toy = copy_as_toy(model_folder, tmp_path / "toy")
    none, out = tmp_path / "none.png", tmp_path / "out"
    for inputs in ((none,), (none, sketch)):
        done = run(*inputs, "-o", f"{out}/", model=toy)
        assert (done.code, done.err) == (1, f"error: {none}: no such file or folder\n")
    assert run(sketch, "-o", out, model=toy).err.endswith(f"a new folder is {out}/\n")


def test_a_reader_that_ends_early_is_no_error(model_folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "colorizer", "--print-completion", "zsh"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_picture_that_is_coloured_already_is_copied_with_a_note(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    cover, out = tmp_path / "cover.png", tmp_path / "out.png"
    cover.write_bytes(png(painted(70, 50)))
    done = run(cover, "-o", out, "--clean")
    assert done.code == 0, done.err
    assert "cover.png: coloured already, so it was copied as it is" in done.err
    with Image.open(out) as picture:
        assert picture.tobytes() == painted(70, 50).tobytes()
    row = json.loads(run(cover, "-o", out, "--json").out)
    assert (row["status"], row["width"]) == ("copied", 70)
    assert row["reason"].startswith("coloured already")


def test_a_picture_that_is_coloured_already_is_left_alone_or_coloured_on_request(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    cover, out = tmp_path / "cover.png", tmp_path / "out.png"
    cover.write_bytes(png(painted(70, 50)))
    left = run(cover, "-o", out, "--coloured", "skip")
    assert left.code == 0, left.err
    assert "coloured already, so it was left alone; --coloured colour colours it" in left.err
    assert not out.exists()
    row = run(cover, "-o", out, "--coloured", "skip", "--json").out
    assert json.loads(row)["status"] == "ignored"
    coloured = run(cover, "-o", out, "--coloured", "colour")
    assert (coloured.code, coloured.err) == (0, "")
    with Image.open(out) as picture:
        assert picture.tobytes() != painted(70, 50).tobytes()


def test_an_output_that_is_its_input_is_refused_by_any_name(
    run: Callable[..., Ran], sketch: Path, tmp_path: Path
) -> None:
    before = sketch.read_bytes()
    (tmp_path / "soft.png").symlink_to(sketch)
    (tmp_path / "hard.png").hardlink_to(sketch)
    other = tmp_path / "other.png"
    other.write_bytes(before)
    relative = Path(os.path.relpath(sketch))
    for output in (sketch, relative, tmp_path / "soft.png", tmp_path / "hard.png", tmp_path):
        source = sketch.parent if output.is_dir() else sketch
        done = run(source, "-o", output)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "the output is the input itself" in done.err
    assert run(sketch, "-o", other, "--reference", other).code == 1
    assert (sketch.read_bytes(), other.read_bytes()) == (before, before)


def test_every_page_of_a_tiff_gets_a_file(
    run: Callable[..., Ran], model_folder: Path, tmp_path: Path
) -> None:
    save_frames(tmp_path / "doc.tif")
    done = run(tmp_path / "doc.tif", "-o", tmp_path / "out.png")
    assert (done.code, done.err) == (0, "")
    for page, width in ((1, 60), (2, 61), (3, 62)):
        with Image.open(tmp_path / f"out_{page:02}.png") as picture:
            assert picture.size == (width, 40)
    assert not (tmp_path / "out.png").exists()
    piped = colorize(model_folder, tmp_path / "doc.tif", "-o", "-")
    assert piped.stdout == (tmp_path / "out_01.png").read_bytes()
    assert b"only page 1 of 3" in piped.stderr
    (tmp_path / "doc.tif").rename(tmp_path / "out_01.png")  # a page's name is the sketch's own
    assert run(tmp_path / "out_01.png", "-o", tmp_path / "out.png").code == 3
    with Image.open(tmp_path / "out_01.png") as kept:
        assert kept.format == "TIFF"


def test_json_has_a_line_for_each_page_coloured_or_not(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    pages = [draw(60, 40), painted(70, 50), draw(80, 40)]
    pages[0].save(tmp_path / "doc.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "out_03.png").hardlink_to(tmp_path / "doc.tif")  # which is never replaced
    done = run(tmp_path / "doc.tif", "-o", tmp_path / "out.png", "--coloured", "skip", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["page"], row["pages"]) for row in rows] == [(1, 3), (2, 3), (3, 3)]
    assert [row["status"] for row in rows] == ["done", "ignored", "failed"]
    assert [bool(row["reason"]) for row in rows] == [False, True, True]
    assert (rows[0]["target"], rows[0]["width"]) == (str(tmp_path / "out_01.png"), 60)
    assert done.code == 3


def test_a_name_of_any_bytes_is_coloured(run: Callable[..., Ran], tmp_path: Path) -> None:
    source, output = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.png", b"o\xe9.png"))
    draw().save(source)
    done = run(source, "-o", output)
    assert (done.code, "o\\xe9.png: 60×40" in done.out, output.is_file()) == (0, True, True)


def test_a_model_of_the_sample_is_called_a_toy_once(
    run: Callable[..., Ran], sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    toy = copy_as_toy(model_folder, tmp_path / "toy")
    for source, output in ((sketch, tmp_path / "o.png"), (sketch.parent, tmp_path / "out")):
        assert run(source, "-o", output, model=toy).err.count("this model is a toy") == 1
    assert "toy" not in run(sketch, "-o", tmp_path / "o.png").err
