"""``colorize``: several inputs, where pictures go and as what, and errors that name an argument."""

import io
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colorizer import ColorizeOptions, Colorizer
from colorizer.base.errors import PictureError
from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw, ink_alone, painted, png, save_frames

Run = Callable[..., Ran]


@pytest.fixture
def sketch(tmp_path: Path) -> Path:
    path = tmp_path / "sketch.png"
    path.write_bytes(png(draw(70, 50)))
    return path


def kinds(folder: Path) -> dict[str, str | None]:
    """Name → format of the pictures below a folder; JPEG by its bytes, not by its name."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith((".", "report")):
            data = path.read_bytes()
            is_ora = data[:2] == b"PK"
            found[path.relative_to(folder).as_posix()] = (
                "ORA" if is_ora else Image.open(io.BytesIO(data)).format
            )
    return found


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_several_files_and_folders_go_into_one_folder(run: Run, tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png", "b/deep/y.png", "c/z.png", "odd.sketch"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(draw()))
    (tmp_path / "bad.png").write_bytes(b"hello")
    names = ("a/x.png", "b", "./b/x.png", "c/z.png", "odd.sketch", "bad.png", "bad.png")
    out = tmp_path / "new" / "out"
    done = run(*(tmp_path / name for name in names), "-o", out)
    assert done.code == 3
    assert set(kinds(out)) == {"a/x.png", "b/x.png", "b/deep/y.png", "z.png", "odd.png"}
    assert "5 coloured, 0 skipped (done before), 1 failed" in done.out
    assert f"{tmp_path}/bad.png: not a picture" in done.err
    again = run(*(tmp_path / name for name in names), "-o", out)
    assert "0 coloured, 5 skipped (done before), 1 failed" in again.out


def test_files_of_one_name_get_outputs_of_their_own(run: Run, tmp_path: Path) -> None:
    sizes = {"a": (60, 40), "b": (80, 40)}
    for name, size in sizes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(png(draw(*size)))
    out = tmp_path / "out"
    done = run(tmp_path / "a/x.png", tmp_path / "b/x.png", "-o", out)
    assert (done.code, set(kinds(out))) == (0, {"a/x.png", "b/x.png"}), done.err
    assert (size_of(out / "a/x.png"), size_of(out / "b/x.png")) == tuple(sizes.values())


def test_a_picture_that_another_input_replaced_is_coloured_again(run: Run, tmp_path: Path) -> None:
    for name, width in (("a", 60), ("b", 80)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(png(draw(width, 40)))
    out = tmp_path / "out"
    for name, width in (("a", 60), ("b", 80), ("a", 60)):
        done = run(tmp_path / name, "-o", out)
        assert "1 coloured, 0 skipped" in done.out
        with Image.open(out / "x.png") as picture:
            assert picture.width == width


@pytest.mark.parametrize("slash", ["", "/"])
def test_one_sketch_goes_into_a_folder_under_its_own_name(
    run: Run, sketch: Path, tmp_path: Path, slash: str
) -> None:
    out = tmp_path / "out"
    if not slash:
        out.mkdir()
    for options, name, kind in (
        ((), "sketch.png", "PNG"),
        (("--layers",), "sketch.ora", "ORA"),
        (("--format", "webp"), "sketch.webp", "WEBP"),
        (("--format", "jpg"), "sketch.jpg", "JPEG"),
    ):
        done = run(sketch, "-o", f"{out}{slash}", *options)
        assert (done.code, done.err) == (0, "")
        assert kinds(out)[name] == kind
    save_frames(tmp_path / "doc.tif")
    assert run(tmp_path / "doc.tif", "-o", f"{out}{slash}").code == 0
    assert {"doc_01.png", "doc_02.png", "doc_03.png"} <= set(kinds(out))


def test_a_jpeg_is_like_the_picture_on_white(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "ink.png"
    ink_alone(draw(90, 70)).save(source)
    for name in ("out.png", "out.jpg", "out.JPEG"):
        assert run(source, "-o", tmp_path / name).code == 0
    white = Image.new("RGBA", (90, 70), "white")
    with Image.open(tmp_path / "out.png") as coloured:
        white.alpha_composite(coloured)
    expected = np.asarray(white.convert("RGB")).astype(int)
    for name in ("out.jpg", "out.JPEG"):
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert np.abs(np.asarray(picture).astype(int) - expected).mean() < 3


def test_the_american_spelling_is_the_same(run: Run, tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    cover.write_bytes(png(painted(70, 50)))
    written = []
    for number, options in enumerate(
        (
            ("--coloured", "colour", "--only", "colour"),
            ("--colored", "color", "--only", "color"),
        )
    ):
        out = tmp_path / f"{number}.png"
        assert run(cover, "-o", out, *options).code == 0
        written.append(out.read_bytes())
    assert written[0] == written[1]
    assert ColorizeOptions(coloured="color") == ColorizeOptions(coloured="colour")  # type: ignore[arg-type]


def test_the_version_is_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out == f"colorize {version('image-colorizer')}\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-o", "out.png", "--layers"), "--format/--layers: says ora, but -o out.png says png"),
        (("-o", "out.webp", "--format", "jpg"), "says jpg, but -o out.webp says webp"),
        (("-o", "o", "--layers", "--format", "webp"), "argument --format: not allowed with"),
        (("-o", "o.png", "--shard", "1/2"), "argument --shard: needs a folder or several"),
        (("-o", "o.png", "--seed", "x"), "argument --seed: must be ≥ 0, got x"),
        (("-o", "o.png", "--workers", "0"), "argument --workers: must be ≥ 1, got 0"),
        (("-o", "o.png", "--line-strength", "3"), "argument --line-strength: must be 0 to 2"),
        (("-o", "o.png", "--line-strength", "nan"), "argument --line-strength: must be 0 to 2"),
        (("-o", "o.png", "--palette", ""), "argument --palette: palette must be 1 to 12 colours"),
        (("other.png", "-o", "o.png"), "argument -o/--output: must be a folder here"),
        (("other.png", "-o", "-"), "argument -o/--output: must be a folder here"),
        (("-", "-o", "out/"), "argument input: - (standard input) can't be one of several"),
    ],
)
def test_wrong_usage_names_its_argument(
    run: Run,
    sketch: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(sketch.parent)
    with pytest.raises(SystemExit, match="2"):
        run(sketch, *options)
    assert reason in capsys.readouterr().err
    assert [path.name for path in sketch.parent.iterdir()] == ["sketch.png"]


def test_a_failure_names_its_argument_before_the_model_is_loaded(
    run: Run, sketch: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    for arguments, reason in (
        ((sketch, "-o", "out.psd"), "-o out.psd: can't write .psd: name it .png, .jpg"),
        ((sketch, "-o", "out.ora", "--only", "lines"), "-o out.ora: an .ora file holds lines and"),
        ((sketch, tmp_path / "none.png", "-o", "out/"), f"{tmp_path}/none.png: no such file"),
        ((sketch, sketch, "-o", tmp_path), f"{tmp_path}: holds an input, {sketch}"),
    ):
        done = run(*arguments, model=nowhere)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert reason in done.err
    done = run(sketch, "-o", sketch / "out" / "x.png")
    assert re.fullmatch(r"error: -o .*x\.png: can't be written \(.+\)\n", done.err)
    done = run(tmp_path, "-o", sketch / "out")
    assert re.fullmatch(r"error: -o .*out: can't be a folder \(.+\)\n", done.err)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "LA", "I;16"])
def test_a_picture_of_pillow_is_coloured_like_its_file(
    colorizer: Colorizer, tmp_path: Path, mode: str
) -> None:
    picture = ink_alone(draw(70, 50)) if "A" in mode else draw(70, 50)
    picture = picture.convert(mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(draw(70, 50).convert("L")).astype(np.uint16) * 257)
    picture.save(tmp_path / "sketch.png")
    before = picture.tobytes()
    coloured = colorizer(picture, ColorizeOptions(seed=3))
    assert coloured == colorizer(tmp_path / "sketch.png", ColorizeOptions(seed=3))
    assert picture.tobytes() == before
    with Image.open(tmp_path / "sketch.png") as opened:
        assert colorizer(opened, ColorizeOptions(seed=3)) == coloured


def test_a_picture_of_pillow_that_is_not_whole_is_refused(
    colorizer: Colorizer, tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(png(draw(300, 200))[:-200])
    with (
        Image.open(tmp_path / "cut.png") as picture,
        pytest.raises(PictureError, match="the sketch: "),
    ):
        colorizer(picture)
    rotated = draw(70, 50)
    exif = rotated.getexif()
    exif[0x0112] = 6
    rotated.info["exif"] = exif.tobytes()
    assert colorizer(rotated).size == (50, 70)


def test_an_invalid_option_is_refused_where_it_is_made() -> None:
    palettes: Any = ("", "red", "#12345", [], ["red"], [3], 3, ["#ff8800", None])
    for palette in palettes:
        with pytest.raises(PictureError, match="palette must be") as refused:
            ColorizeOptions(palette=palette)
        assert isinstance(refused.value, ValueError)


def test_a_palette_and_a_reference_are_taken_as_users_have_them(tmp_path: Path) -> None:
    assert ColorizeOptions(palette=["#ff8800", "2244aa"]).palette == "#ff8800,2244aa"
    picture = painted(70, 50)
    (tmp_path / "other.png").write_bytes(png(picture))
    givens: Any = (tmp_path / "other.png", str(tmp_path / "other.png"), png(picture), picture)
    for given in givens:
        taken = ColorizeOptions(reference=given).reference
        assert isinstance(taken, Image.Image)
        assert taken.tobytes() == picture.tobytes()
    indexed = ColorizeOptions(reference=picture.quantize(8)).reference
    assert isinstance(indexed, Image.Image)
    assert indexed.mode == "RGB"
    refusals: Any = (
        (3, TypeError, "reference must be a path, a file's bytes or a PIL picture, got int"),
        (str(tmp_path / "none.png"), PictureError, r"none\.png: no such file"),
        (draw(70, 50).convert("L"), ValueError, "black and white"),
    )
    for given, kind, reason in refusals:
        with pytest.raises(kind, match=reason):
            ColorizeOptions(reference=given)
