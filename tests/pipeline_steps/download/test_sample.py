import io
import json
import random
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline_steps.base.errors import ParamError
from pipeline_steps.download.sample import colorgram_of, write_sample
from pipeline_steps.drawing.character import HELD, POSES, draw_character, draw_pair, invent
from pipeline_steps.drawing.hair import HAIR_STYLES
from pipeline_steps.drawing.scenery import SCENES
from pipeline_steps.drawing.wardrobe import GARMENTS, HEADWEAR


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sample") / "pairs.zip"
    write_sample(target, train_pairs=4, test_pairs=2, seed=7)
    return target


def halves(index: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    colour, sketch = draw_pair(seed, index)
    return np.asarray(colour, dtype=float), np.asarray(sketch, dtype=float)


def test_the_archive_has_the_expected_layout(sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        names = archive.namelist()
        stamps = {entry.date_time for entry in archive.infolist()}
    ids = range(1_000_001, 1_000_007)
    assert names == sorted(names)
    assert set(names) == {
        *(f"data/colorgram/{each}.json" for each in ids),
        *(f"data/train/{each}.png" for each in ids[:4]),
        *(f"data/val/{each}.png" for each in ids[4:]),
    }
    assert stamps == {(2024, 1, 1, 0, 0, 0)}
    assert not list(sample.parent.glob(".*"))


def test_pictures_are_colour_left_and_grey_sketch_right(sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        for name in archive.namelist():
            if not name.endswith(".png"):
                continue
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                assert (picture.size, picture.mode) == ((1024, 512), "RGB")
                pixels = np.asarray(picture, dtype=int)
            colour, sketch = pixels[:, :512], pixels[:, 512:]
            assert (sketch.min(axis=2) == sketch.max(axis=2)).all()
            assert (sketch == 255).mean() > 0.6
            assert (colour.max(axis=2) - colour.min(axis=2)).mean() > 15


def test_colorgrams_name_four_colours_of_four_strips(sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        colorgram = json.loads(archive.read("data/colorgram/1000001.json"))
    four = ["0", "1", "2", "3"]
    assert sorted(colorgram) == four
    for strip in colorgram.values():
        assert sorted(strip) == four
        assert all(len(rgb) == 3 and all(0 <= c <= 255 for c in rgb) for rgb in strip.values())


def test_colorgram_of_a_picture_with_one_colour() -> None:
    colorgram = colorgram_of(Image.new("RGB", (512, 512), (200, 10, 60)))
    assert colorgram["3"] == {str(k): [200, 10, 60] for k in range(4)}


def test_colorgram_counts_strips_from_the_top_and_the_commonest_colour_first() -> None:
    picture = Image.new("RGB", (512, 512))
    colours = [(200, 10, 60), (0, 90, 0), (20, 30, 240), (250, 250, 10)]
    for number, colour in enumerate(colours):
        picture.paste(colour, (0, 128 * number, 512, 128 * (number + 1)))
        picture.paste((0, 0, 0), (0, 128 * number, 100, 128 * (number + 1)))
    colorgram = colorgram_of(picture)
    for number, colour in enumerate(colours):
        assert colorgram[str(number)]["0"] == list(colour)
        assert colorgram[str(number)]["1"] == [0, 0, 0]


def test_same_arguments_give_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    write_sample(again, train_pairs=4, test_pairs=2, seed=7)
    assert again.read_bytes() == sample.read_bytes()


def test_one_core_gives_the_same_bytes(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_steps.download.sample.count_cores", lambda: 1)
    again = tmp_path / "again.zip"
    write_sample(again, train_pairs=4, test_pairs=2, seed=7)
    assert again.read_bytes() == sample.read_bytes()


def test_another_seed_gives_other_pictures() -> None:
    assert draw_pair(7, 0)[0].tobytes() != draw_pair(8, 0)[0].tobytes()


def test_a_character_depends_on_seed_and_index_only() -> None:
    assert draw_pair(7, 3)[0].tobytes() == draw_pair(7, 3)[0].tobytes()


def test_no_two_pictures_are_equal() -> None:
    drawn = [draw_pair(1, index) for index in range(24)]
    assert len({colour.tobytes() for colour, _ in drawn}) == len(drawn)
    assert len({sketch.tobytes() for _, sketch in drawn}) == len(drawn)


def test_lines_are_where_the_colour_picture_is_dark() -> None:
    for index in range(6):
        colour, sketch = halves(index)
        lines = sketch < 60
        assert lines.mean() > 0.02
        assert colour[lines].mean(axis=1).max() < 90


def test_colours_change_only_near_lines_or_shadows() -> None:
    for index in range(6):
        colour, sketch = halves(index)
        steps = np.abs(np.diff(colour, axis=1)).max(axis=2)
        assert (steps[(sketch[:, 1:] == 255) & (sketch[:, :-1] == 255)] == 0).mean() > 0.97


@pytest.mark.parametrize("style", sorted(HAIR_STYLES))
def test_a_haircut_determines_the_hair_colour(style: str) -> None:
    base = np.array(HAIR_STYLES[style].colour)
    found = [
        who.hair_colour
        for who in (invent(random.Random(k)) for k in range(200))
        if who.hair == style
    ]
    assert len(found) > 3
    assert np.abs(np.array(found) - base).max() <= 0.03 * 255


def test_haircuts_have_different_colours() -> None:
    colours = [np.array(style.colour) for style in HAIR_STYLES.values()]
    nearest = min(np.abs(a - b).max() for k, a in enumerate(colours) for b in colours[k + 1 :])
    assert nearest > 30


@pytest.mark.parametrize("field", ["hair", "garment", "headwear", "scene", "pose", "held"])
def test_every_choice_changes_the_picture(field: str) -> None:
    tables: dict[str, Iterable[str]] = {
        "hair": HAIR_STYLES,
        "garment": GARMENTS,
        "headwear": HEADWEAR,
        "scene": SCENES,
        "pose": POSES,
        "held": HELD,
    }
    choices = sorted(tables[field])
    who = replace(invent(random.Random(0)), pose="hold", scene="plain", headwear="none")
    drawn = set()
    for choice in choices:
        change: dict[str, Any] = {field: choice}
        changed = replace(who, **change)
        drawn.add(draw_character(changed, random.Random(1))[1].tobytes())
    assert len(drawn) == len(choices) >= 5


@pytest.mark.parametrize("chibi", [True, False])
def test_every_garment_changes_the_drawing_of_both_builds(chibi: bool) -> None:
    who = invent(random.Random(0))
    drawn = set()
    for garment in sorted(GARMENTS):
        colour, sketch = draw_character(
            replace(who, garment=garment, chibi=chibi), random.Random(1)
        )
        assert colour.size == sketch.size == (512, 512)
        drawn.add(sketch.tobytes())
    assert len(drawn) == len(GARMENTS)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("download.sample_train_pairs", {"train_pairs": 0}),
        ("download.sample_train_pairs", {"train_pairs": 2.5}),
        ("download.sample_test_pairs", {"test_pairs": -1}),
        ("download.sample_test_pairs", {"test_pairs": 10**9}),
        ("download.sample_seed", {"seed": -1}),
        ("download.sample_seed", {"seed": True}),
    ],
)
def test_bad_arguments_are_refused_by_name(
    tmp_path: Path, name: str, arguments: dict[str, int]
) -> None:
    complete = {"train_pairs": 1, "test_pairs": 1, "seed": 0} | arguments
    with pytest.raises(ParamError, match=name) as refused:
        write_sample(tmp_path / "pairs.zip", **complete)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
