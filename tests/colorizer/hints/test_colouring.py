"""Hints in the runtime, the command and folders, by models that take them or don't."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer import ColorizeOptions, Colorizer
from colorizer.base.errors import HintError, ModelFolderError
from colorizer.hints.hint import Hint, format_json
from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw, painted, png

HINT = Hint(30, 12, "#e8b090", 3)


@pytest.fixture(scope="session")
def hinted(hint_folder: Path) -> Colorizer:
    return Colorizer.load(hint_folder)


@pytest.mark.parametrize("size", [(60, 40), (33, 32), (4000, 3000), (90, 700)])
def test_the_colour_at_a_hint_is_that_of_the_hint(hinted: Colorizer, size: tuple[int, int]) -> None:
    at = size[0] // 2, round(size[1] * 0.3)
    artwork = hinted.draw(png(draw(*size)), hints=[Hint(*at, "#e8b090", 1.5)])
    assert artwork.picture().size == size
    found = np.array(artwork.colour.getpixel(at))
    assert np.abs(found - (232, 176, 144)).max() <= 8


def test_the_same_hints_give_the_same_bytes_and_others_dont(hinted: Colorizer) -> None:
    sketch = png(draw())
    first, again = (hinted(sketch, hints=[HINT]).tobytes() for _ in range(2))
    assert first == again
    assert first != hinted(sketch).tobytes()
    assert first != hinted(sketch, hints=[Hint(30, 12, "#2244aa", 3)]).tobytes()


def test_no_hints_are_the_same_as_an_empty_list(hinted: Colorizer) -> None:
    sketch = png(draw())
    assert hinted(sketch).tobytes() == hinted(sketch, hints=[]).tobytes()


def test_hints_reach_the_network(hinted: Colorizer) -> None:
    """Not only the correction after it."""
    sketch = np.ones((1, 1, 32, 32), np.float32)
    hints = np.zeros((1, 4, 32, 32), np.float32)
    hints[:, :, 16, 16] = [-1, 0.5, 1, 1]
    with_hints = hinted.session.run(sketch, hints=hints)
    assert np.abs(with_hints - hinted.session.run(sketch)).max() > 0.01


@pytest.mark.parametrize("size", [(640, 640), (400, 640)])
def test_a_thin_line_from_edge_to_edge_holds_a_colour_back(
    hinted: Colorizer, size: tuple[int, int]
) -> None:
    sketch = Image.new("L", size, 255)
    ImageDraw.Draw(sketch).line((0, 320, size[0], 320), 0, 2)
    dot = [Hint(size[0] // 2, 250, "#2244aa", 20)]
    above, below = (0, 0, size[0], 318), (0, 323, *size)
    plain, dotted = hinted(sketch), hinted(sketch, hints=dot)
    assert dotted.crop(above).tobytes() != plain.crop(above).tobytes()
    assert changed(plain.crop(below), dotted.crop(below)) <= 1
    # for the generator the line is a tenth of a pixel: without barriers the colour passes
    model = dataclasses.replace(hinted.model, config={**hinted.model.config, "hint_barriers": None})
    older = Colorizer(model)
    assert changed(plain.crop(below), older(sketch, hints=dot).crop(below)) > 10


def changed(first: Image.Image, second: Image.Image) -> int:
    """The largest difference of a value."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


def test_a_model_without_hints_says_so(colorizer: Colorizer) -> None:
    with pytest.raises(ModelFolderError, match="takes no hints: it was trained without"):
        colorizer(png(draw()), hints=[HINT])


def test_a_hint_outside_is_refused_before_any_work(hinted: Colorizer) -> None:
    with pytest.raises(HintError, match="hint 1 at 60, 5 lies outside the picture of 60×40"):
        hinted(png(draw()), hints=[Hint(60, 5, "#ffffff")])


def test_a_coloured_page_is_copied_in_spite_of_hints(hinted: Colorizer) -> None:
    page = painted(300, 200)
    assert hinted(page, hints=[HINT]).tobytes() == page.tobytes()
    changed = hinted(page, ColorizeOptions(coloured="colour"), hints=[HINT])
    assert changed.tobytes() != page.tobytes()


def test_the_command_takes_dots_json_and_pictures(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    sketch = tmp_path / "a.png"
    draw().save(sketch)
    picture = Image.new("RGBA", (60, 40))
    ImageDraw.Draw(picture).circle((30, 12), 3, fill=(232, 176, 144, 255))
    picture.save(tmp_path / "dots.png")
    (tmp_path / "dots.json").write_text(format_json([HINT], (60, 40)))
    for number, given in enumerate(
        (
            ("--hint", "30,12,#e8b090,3"),
            ("--hints", tmp_path / "dots.json"),
            ("--hints", tmp_path / "dots.png"),
        )
    ):
        done = run(sketch, "-o", tmp_path / f"out{number}.png", *given, model=hint_folder)
        assert done.code == 0, done.err
    first = (tmp_path / "out0.png").read_bytes()
    assert first == (tmp_path / "out1.png").read_bytes()
    assert first == (tmp_path / "out2.png").read_bytes()


def test_the_file_beside_a_sketch_is_used(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    draw().save(tmp_path / "a.png")
    run(tmp_path / "a.png", "-o", tmp_path / "plain.png", model=hint_folder)
    (tmp_path / "a.hints.json").write_text(format_json([HINT], (60, 40)))
    run(tmp_path / "a.png", "-o", tmp_path / "beside.png", model=hint_folder)
    given = ("--hint", "30,12,#e8b090,3")
    run(tmp_path / "a.png", "-o", tmp_path / "given.png", *given, model=hint_folder)
    plain, beside, given_bytes = (
        (tmp_path / f"{name}.png").read_bytes() for name in ("plain", "beside", "given")
    )
    assert beside == given_bytes != plain


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--hint", "70,12,#e8b090"), "hint 1 at 70, 12 lies outside the picture of 60×40"),
        (("--hints", "missing.png"), "missing.png: no such file"),
        (("--hints", "small.png"), "small.png: the hint picture is 9×9, the sketch 60×40"),
        (("--hints", "many.json"), "10,001 hints; at most 10,000 are taken"),
    ],
)
def test_wrong_hints_end_with_one_line_and_no_picture(
    tmp_path: Path,
    hint_folder: Path,
    run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    draw().save("a.png")
    Image.new("RGBA", (9, 9), "red").save("small.png")
    entry = {"x": 1, "y": 1, "colour": "#ffffff"}
    Path("many.json").write_text(json.dumps([entry] * 10_001))
    done = run("a.png", "-o", "out.png", *given, model=hint_folder)
    assert (done.code, done.out) == (1, "")
    assert reason in done.err
    assert done.err.count("\n") == 1
    assert not Path("out.png").exists()


def test_a_model_without_hints_fails_by_name_in_the_command(
    tmp_path: Path, run: Callable[..., Ran]
) -> None:
    draw().save(tmp_path / "a.png")
    done = run(tmp_path / "a.png", "-o", tmp_path / "out.png", "--hint", "1,1,#ffffff")
    assert done.code == 1
    assert "this model takes no hints" in done.err


@pytest.mark.parametrize("text", ["1,2", "1,2,peach", "nan,2,#ffffff", "-1,2,#ffffff"])
def test_an_argument_that_is_no_hint_is_wrong_usage(
    tmp_path: Path, run: Callable[..., Ran], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "a.png", "-o", tmp_path / "out.png", f"--hint={text}")
    assert "argument --hint:" in capsys.readouterr().err


def test_in_a_folder_each_sketch_has_the_hints_beside_it(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        draw().save(folder / f"{name}.png")
    (folder / "a.hints.json").write_text(format_json([HINT], (60, 40)))
    Image.new("RGBA", (9, 9), "red").save(folder / "b.hints.png")
    Image.new("RGBA", (9, 9), "red").save(folder / "lone.hints.png")
    done = run(folder, "-o", out, "--json", model=hint_folder)
    rows = {row["source"]: row for row in json.loads(done.out)}
    assert done.code == 3
    assert {source: row["status"] for source, row in rows.items()} == {
        "a.png": "done",
        "b.png": "failed",
        "c.png": "done",
        "lone.hints.png": "ignored",
    }
    assert "the hint picture is 9×9, the sketch 60×40" in rows["b.png"]["reason"]
    assert "hints without a sketch" in rows["lone.hints.png"]["reason"]
    assert (out / "a.png").read_bytes() != (out / "c.png").read_bytes()


def test_new_hints_are_a_new_picture_when_a_folder_is_coloured_again(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b"):
        draw().save(folder / f"{name}.png")
    run(folder, "-o", out, model=hint_folder)
    before = (out / "a.png").read_bytes()
    (folder / "a.hints.json").write_text(format_json([HINT], (60, 40)))
    again = run(folder, "-o", out, model=hint_folder)
    assert "1 coloured, 1 skipped" in again.out
    hinted = (out / "a.png").read_bytes()
    assert hinted != before
    (folder / "a.hints.json").unlink()
    run(folder, "-o", out, model=hint_folder)
    assert (out / "a.png").read_bytes() == before


def test_files_of_hints_among_several_inputs_arent_sketches(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    draw().save(tmp_path / "a.png")
    draw(50, 40).save(tmp_path / "b.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "lone.hints.png")
    Image.new("RGBA", (60, 40), "red").save(tmp_path / "a.hints.png")
    names = sorted(tmp_path.glob("*.png"))
    done = run(*names, "-o", tmp_path / "out", "--json", model=hint_folder)
    rows = {Path(row["source"]).name: row["status"] for row in json.loads(done.out)}
    assert rows == {"a.png": "done", "b.png": "done", "lone.hints.png": "ignored"}
