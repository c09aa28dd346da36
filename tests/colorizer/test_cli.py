"""``colorize``: files, pipes, and its error messages."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorizer.pictures.decoding import Decoded
from colorizer.pictures.sketch import to_sketch
from tests.colorizer.drawing import draw, ink_alone, painted, png
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


def test_only_lines_writes_the_cleaned_lines(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lines.png"
    assert colorize(model_folder, sketch, "-o", out, "--clean", "--only", "lines").returncode == 0
    with Image.open(sketch) as drawing, Image.open(out) as lines:
        cleaned = to_sketch(Decoded(drawing.convert("RGB"), None), clean=True).lines
        assert np.array_equal(np.asarray(lines), np.asarray(cleaned))


def test_a_cut_out_reference_gives_its_own_colours(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    figure = Image.new("RGB", (60, 60), (40, 90, 200))
    figure.paste((200, 60, 60), (0, 0, 30, 60))
    cut_out = Image.new("RGBA", (200, 200), (255, 255, 255, 0))
    cut_out.paste(figure.convert("RGBA"), (70, 70))
    coloured = []
    for name, reference in (("opaque", figure), ("cut_out", cut_out)):
        reference.save(tmp_path / f"{name}.png")
        out = tmp_path / f"{name}_out.png"
        done = colorize(
            model_folder, sketch, "-o", out, "--reference", tmp_path / f"{name}.png", "--keep-skin"
        )
        assert done.returncode == 0, done.stderr
        with Image.open(out) as picture:
            coloured.append(np.asarray(picture).astype(int))
    assert np.abs(coloured[0] - coloured[1]).mean() < 2


def test_a_reference_without_colours_is_refused_by_name(
    sketch: Path, model_folder: Path, tmp_path: Path
) -> None:
    out, reference = tmp_path / "out.png", tmp_path / "reference.png"
    for data, reason in (
        (png(Image.new("RGBA", (9, 9))), "the reference is wholly transparent"),
        (b"text", f"{reference}: not a picture"),
    ):
        reference.write_bytes(data)
        done = colorize(model_folder, sketch, "-o", out, "--reference", reference)
        assert (done.returncode, out.exists()) == (1, False)
        assert reason in done.stderr.decode()


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
    refused(colorize(model_folder, sketch, "-o", text / "out.png"), f"File exists: '{text}'")
    refused(colorize(model_folder, sketch, "-o", out, "--palette", "red"), "colours like")
    refused(colorize(model_folder, sketch, "-o", out, "--seed", -1), "seed must be")
    refused(colorize(tmp_path, sketch, "-o", out), "dvc repro export")
    refused(colorize(model_folder, sketch, "-o", out, "--shard", "3/2"), "must be I/N", 2)
    refused(colorize(model_folder, tmp_path, "-o", "-"), "needs an output folder", 2)
    assert not out.exists()


def test_a_missing_model_is_reported_with_how_to_make_one(sketch: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colorizer", str(sketch), "-o", "out.png"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    refused(done, "`make repro` makes one")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_are_printed(shell: str) -> None:
    pytest.importorskip("shtab")
    command = [sys.executable, "-m", "colorizer", "--print-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--line-strength" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True, timeout=10)


def test_a_picture_that_is_coloured_already_is_copied_with_a_note(
    model_folder: Path, tmp_path: Path
) -> None:
    cover, out = tmp_path / "cover.png", tmp_path / "out.png"
    cover.write_bytes(png(painted(70, 50)))
    done = colorize(model_folder, cover, "-o", out, "--clean")
    assert done.returncode == 0, done.stderr
    assert b"cover.png: coloured already, so it was copied as it is" in done.stderr
    with Image.open(out) as picture:
        assert picture.tobytes() == painted(70, 50).tobytes()


def test_a_picture_that_is_coloured_already_is_left_alone_or_coloured_on_request(
    model_folder: Path, tmp_path: Path
) -> None:
    cover, out = tmp_path / "cover.png", tmp_path / "out.png"
    cover.write_bytes(png(painted(70, 50)))
    left = colorize(model_folder, cover, "-o", out, "--coloured", "skip")
    assert left.returncode == 0, left.stderr
    assert b"coloured already, so it was left alone; --coloured colour colours it" in left.stderr
    assert not out.exists()
    coloured = colorize(model_folder, cover, "-o", out, "--coloured", "colour")
    assert coloured.returncode == 0, coloured.stderr
    assert b"coloured already" not in coloured.stderr
    with Image.open(out) as picture:
        assert picture.tobytes() != painted(70, 50).tobytes()
