"""The stage on generated archives: accepted and rejected pairs, splits and outputs."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import read_pairs
from pipeline_steps.prepare.stage import prepare
from tests.colorizer.base.test_cielab import PUBLISHED
from tests.colorizer.drawing import png
from tests.pipeline_steps.download.archive_bytes import zip_of
from tests.pipeline_steps.prepare.drawn_halves import SIDE_PX, beside, draw_halves, pair_png


def write_raw(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.zip").write_bytes(zip_of(members))
    return folder


def saved_again(picture: bytes) -> bytes:
    """As a JPEG."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as opened:
        opened.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def split_members(root: str = "data/", num_train: int = 12, num_val: int = 4) -> dict[str, bytes]:
    train = {f"{root}train/{k:03}.png": pair_png(k) for k in range(num_train)}
    return train | {f"{root}val/{k:03}.png": pair_png(1000 + k) for k in range(num_val)}


class Prepared:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prepared"
        self.report = folder / "report"

    def run(self, raw: Path, **changes: Any) -> "Prepared":
        options: dict[str, Any] = {
            "image_size": 32,
            "sketch_side": "auto",
            "pair_checks": "strict",
            "val_fraction": 0.2,
            "test_fraction": 0.3,
            "max_truth_difference": 40,
            "max_picture_pixels": 1_000_000,
            "workers": 1,
        }
        prepare(raw, self.folder, self.report, **(options | changes))
        return self

    @property
    def manifest(self) -> pd.DataFrame:
        columns = {"id": str, "reason": str, "split": str}
        return pd.read_csv(self.folder / "manifest.csv", dtype=columns, keep_default_na=False)

    def reason(self, member: str) -> str:
        (row,) = self.manifest[self.manifest["member"] == member].to_dict("records")
        return str(row["reason"])

    def ids(self, split: str) -> list[str]:
        table = self.manifest
        return list(table[(table["split"] == split) & (table["verdict"] == "accepted")]["id"])

    def dataset(self) -> Any:
        return json.loads((self.folder / "dataset.json").read_text())

    def counts(self) -> Any:
        return json.loads((self.report / "counts.json").read_text())

    def bytes_of_all(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path)


def test_the_archives_val_is_the_test_set_and_val_is_split_from_train(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members()))
    counts = prepared.dataset()["pairs"]
    assert counts["test"] == 4
    assert counts["train"] + counts["val"] == 12
    assert counts["val"] >= 1


def test_packed_pairs_are_the_pictures_in_the_order_of_their_ids(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members()), image_size=SIDE_PX)
    pixels = read_pairs(prepared.folder / "test.npy").pixels
    for row in range(4):
        colour, sketch = draw_halves(1000 + row)
        assert np.array_equal(pixels[row, ..., :3], colour)
        assert np.array_equal(pixels[row, ..., 3], sketch[..., 0])


@pytest.mark.parametrize("root", ["", "data/", "data/data/", "some/where/"])
def test_the_root_folder_is_found(prepared: Prepared, tmp_path: Path, root: str) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members(root)))
    assert len(prepared.ids("test")) == 4
    assert not any("data" in id_ or "where" in id_ for id_ in prepared.ids("train"))


@pytest.mark.parametrize("sketch_left", [True, False])
def test_the_sketch_half_is_found_by_its_lack_of_colour(
    prepared: Prepared, tmp_path: Path, sketch_left: bool
) -> None:
    members = {f"train/{k}.png": pair_png(k, sketch_left=sketch_left) for k in range(12)}
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX)
    assert prepared.dataset()["sketch_side"] == ("left" if sketch_left else "right")
    colour = read_pairs(prepared.folder / "train.npy").pixels[..., :3].astype(int)
    assert (colour.max(axis=-1) - colour.min(axis=-1)).mean() > 20


@pytest.mark.parametrize("tint", [(255, 244, 225), (250, 225, 170), (190, 140, 90)])
def test_the_sketch_half_is_found_on_paper_of_any_tint(
    prepared: Prepared, tmp_path: Path, tint: tuple[int, int, int]
) -> None:
    members = {}
    for k in range(12):
        colour, sketch = draw_halves(k)
        paper = (sketch * np.array(tint) / 255).astype(np.uint8)
        members[f"train/{k}.png"] = beside(colour, paper)
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX)
    assert prepared.dataset()["sketch_side"] == "right"
    assert prepared.counts()["verdicts"]["rejected"] == 0
    sketches = read_pairs(prepared.folder / "train.npy").pixels[..., 3]
    assert np.median(sketches) == 255


def test_light_on_dark_is_turned_around_in_a_mixed_set_and_counted(
    prepared: Prepared, tmp_path: Path
) -> None:
    members, mixed = {}, {}
    for k in range(12):
        colour, sketch = draw_halves(k)
        members[f"train/{k}.png"] = beside(colour, sketch)
        turned = 255 - sketch if k % 3 == 0 else sketch
        mixed[f"train/{k}.png"] = beside(colour, turned)
    expected = Prepared(tmp_path / "expected").run(write_raw(tmp_path / "raw", members))
    prepared.run(write_raw(tmp_path / "mixed", mixed))
    assert prepared.counts()["sketches_turned_around"] == 4
    assert prepared.manifest["sketch_turned"].astype(str).tolist().count("True") == 4
    assert "4 sketches were in light on dark" in (prepared.report / "report.md").read_text()
    for split in ("train", "val", "test"):
        packed, wanted = (each.folder / f"{split}.npy" for each in (prepared, expected))
        assert np.array_equal(read_pairs(packed).pixels, read_pairs(wanted).pixels)


def test_an_ambiguous_sketch_side_is_refused_with_the_param_to_set(
    prepared: Prepared, tmp_path: Path
) -> None:
    members = {f"train/{k}.png": pair_png(k, sketch_left=k % 2 == 0) for k in range(12)}
    with pytest.raises(DataError, match=r"set prepare\.sketch_side to left or right"):
        prepared.run(write_raw(tmp_path / "raw", members))
    assert not prepared.folder.exists() or not list(prepared.folder.glob("*.npy"))


def test_two_parallel_folders_are_joined_by_name(prepared: Prepared, tmp_path: Path) -> None:
    members = {}
    for k in range(10):
        colour, sketch = draw_halves(k)
        members[f"set/Colour/{k}.png"] = png(colour)
        members[f"set/sketch/{k}.png"] = png(sketch)
    members["set/sketch/alone.png"] = png(draw_halves(99)[1])
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX)
    assert sum(prepared.dataset()["pairs"].values()) == 10
    assert prepared.reason("set/sketch/alone.png") == "no colour picture of this name"
    pair = read_pairs(prepared.folder / "train.npy").pixels[0]
    colour, sketch = draw_halves(int(prepared.ids("train")[0].rpartition("/")[2]))
    assert np.array_equal(pair[..., :3], colour)
    assert np.array_equal(pair[..., 3], sketch[..., 0])


def test_every_member_has_a_verdict_and_a_rejected_one_its_reason(
    prepared: Prepared, tmp_path: Path
) -> None:
    painted = np.concatenate([draw_halves(50)[0], draw_halves(51)[0]], axis=1)
    odd = {
        "data/train/text.png": b"no picture",
        "data/train/cut.png": pair_png(50)[:-60],
        "data/train/odd.png": png(np.zeros((64, 127), np.uint8)),
        "data/train/tiny.png": png(np.zeros((2, 4), np.uint8)),
        "data/train/coloured.png": png(painted),
        "data/train/large.png": png(np.zeros((1000, 1002), np.uint8)),
        "data/train/blank.png": png(np.full((64, 128), 255, np.uint8)),
        "data/colorgram/000.json": b"{}",
    }
    raw = write_raw(tmp_path / "raw", split_members() | odd)
    prepared.run(raw)
    table = prepared.manifest.set_index("member")
    with zipfile.ZipFile(raw / "pairs.zip") as archive:
        assert sorted(table.index) == sorted(archive.namelist())
    expected = {"text": "not a picture", "cut": "broken", "odd": "odd width", "large": "too large"}
    for name, reason in expected.items():
        assert prepared.reason(f"data/train/{name}.png").startswith(reason)
    assert (
        table.loc[[name for name in odd if name.endswith("png")], "verdict"] == "rejected"
    ).all()
    assert table.loc["data/colorgram/000.json", "verdict"] == "ignored"
    assert (table.loc[table["verdict"] != "accepted", "reason"] != "").all()


def test_of_exact_copies_that_of_the_test_set_is_kept(prepared: Prepared, tmp_path: Path) -> None:
    members = split_members()
    members["data/train/copy.png"] = members["data/val/002.png"]
    members["data/train/again.png"] = members["data/train/001.png"]
    prepared.run(write_raw(tmp_path / "raw", members))
    assert len(prepared.ids("test")) == 4
    assert "002" in prepared.reason("data/train/copy.png")
    rejected = prepared.manifest[prepared.manifest["verdict"] == "rejected"]
    assert len(rejected) == 2


def test_a_copy_of_a_test_picture_saved_again_is_removed_from_train(
    prepared: Prepared, tmp_path: Path
) -> None:
    members = split_members()
    members["data/train/saved_again.jpg"] = saved_again(members["data/val/001.png"])
    prepared.run(write_raw(tmp_path / "raw", members))
    assert len(prepared.ids("test")) == 4
    assert prepared.reason("data/train/saved_again.jpg") == "same truth: as 'test/001' in test"


def test_another_colouring_of_the_same_lines_is_another_picture(
    prepared: Prepared, tmp_path: Path
) -> None:
    colour, sketch = draw_halves(1001)
    members = split_members()
    members["data/train/recoloured.png"] = beside(colour[..., ::-1], sketch)
    prepared.run(write_raw(tmp_path / "raw", members))
    assert prepared.reason("data/train/recoloured.png") == ""


def test_new_pairs_do_not_change_the_split_of_existing_ones(tmp_path: Path) -> None:
    members = {f"{k:03}.png": pair_png(k) for k in range(40)}
    splits = []
    for num_pairs in (25, 40):
        chosen = dict(list(members.items())[:num_pairs])
        done = Prepared(tmp_path / str(num_pairs))
        done.run(write_raw(tmp_path / str(num_pairs) / "raw", chosen))
        splits.append(done.manifest.set_index("member")["split"].to_dict())
    assert splits[0].items() <= splits[1].items()
    assert set(splits[1].values()) == {"train", "val", "test"}


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", split_members(num_train=30))
    done = [Prepared(tmp_path / str(n)).run(raw, workers=n).bytes_of_all() for n in (1, 2)]
    assert done[0] == done[1]


def test_the_train_mean_is_the_mean_of_train(prepared: Prepared, tmp_path: Path) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members()))
    train = read_pairs(prepared.folder / "train.npy").pixels[..., :3]
    mean = np.load(prepared.folder / "train_mean.npy")
    assert np.abs(mean - train.mean(axis=0)).max() <= 0.5


def test_the_fingerprint_depends_on_the_pictures_only(tmp_path: Path) -> None:
    members = split_members()
    changed = members | {"data/val/000.png": pair_png(77)}
    fingerprints = []
    more = {"readme.txt": b"pairs", **members, "data/train/text.png": b"no picture"}
    for name, content in (("a", members), ("b", more), ("c", changed)):
        done = Prepared(tmp_path / name).run(write_raw(tmp_path / name / "raw", content))
        fingerprints.append(done.dataset()["fingerprint"])
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


RGB = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
}
HUE = {"green": 130, "blue": 300, "yellow": 100}
"""atan2(b*, a*) in degrees, rounded down to tens."""


def coloured_pair(first: str, second: str, *, first_share: float, line: int) -> bytes:
    """Two flat colours: halves, or a quarter as a square whose place makes each another picture."""
    size = (SIDE_PX, SIDE_PX)
    colour, sketch = Image.new("RGB", size, RGB[second]), Image.new("RGB", size, "white")
    if first_share == 0.75:
        colour.paste(RGB[first], (0, 0, *size))
        left, top = 8 * (line % 2), 8 * (line // 2)
        colour.paste(RGB[second], (left, top, left + SIDE_PX // 2, top + SIDE_PX // 2))
    else:
        colour.paste(RGB[first], (0, 0, int(first_share * SIDE_PX), SIDE_PX))
    sketch.paste("black", (4, 4 + 8 * line, 60, 8 + 8 * line))
    return beside(np.asarray(colour), np.asarray(sketch))


@pytest.fixture
def coloured(prepared: Prepared, tmp_path: Path) -> Prepared:
    """Train and val ¾ green and ¼ blue; test ¼ yellow, white, red and grey each."""
    members = {
        f"train/{k}.png": coloured_pair("green", "blue", first_share=0.75, line=k) for k in range(6)
    }
    members["val/1.png"] = coloured_pair("yellow", "white", first_share=0.5, line=0)
    members["val/2.png"] = coloured_pair("red", "grey", first_share=0.5, line=3)
    raw = write_raw(tmp_path / "raw", members)
    return prepared.run(raw, image_size=SIDE_PX, pair_checks="off")


def test_colours_csv_contains_cielab_means_and_deviations(coloured: Prepared) -> None:
    table = pd.read_csv(coloured.report / "colours.csv").set_index("split")
    assert list(table.index) == ["train", "val", "test"]
    assert table["pairs"].sum() == 8
    assert table.loc["test", "pairs"] == 2
    shares = {
        "train": {"green": 0.75, "blue": 0.25},
        "val": {"green": 0.75, "blue": 0.25},
        "test": dict.fromkeys(("yellow", "white", "red", "grey"), 0.25),
    }
    for split, share_of in shares.items():
        weights = list(share_of.values())
        for number, name in enumerate(("lightness", "a", "b")):
            values = np.array([PUBLISHED[RGB[colour]][number] for colour in share_of])
            mean = np.average(values, weights=weights)
            std = np.sqrt(np.average((values - mean) ** 2, weights=weights))
            assert table.loc[split, f"{name}_mean"] == pytest.approx(mean, abs=0.03)
            assert table.loc[split, f"{name}_std"] == pytest.approx(std, abs=0.03)


def test_hues_csv_contains_the_share_of_each_hue_among_coloured_pixels(coloured: Prepared) -> None:
    table = pd.read_csv(coloured.report / "hues.csv")
    assert list(table["hue_degrees"]) == 3 * list(range(0, 360, 10))
    share = table.set_index(["split", "hue_degrees"])["share"]
    for split in ("train", "val"):
        assert share[split, HUE["green"]] == 0.75
        assert share[split, HUE["blue"]] == 0.25
    assert share["test", HUE["yellow"]] == 0.5
    assert share["test", 30] + share["test", 40] == 0.5  # red's hue is 40.0°
    assert share.groupby("split").sum().tolist() == [1, 1, 1]


def test_counts_json_counts_pairs_verdicts_and_duplicates(
    prepared: Prepared, tmp_path: Path
) -> None:
    members = split_members(num_train=10, num_val=4)
    members["data/train/copy.png"] = members["data/val/002.png"]
    members["data/train/again.png"] = members["data/val/002.png"]
    members["data/train/saved_again.jpg"] = saved_again(members["data/val/001.png"])
    members["data/train/text.png"] = b"no picture"
    members |= {"readme.txt": b"pairs", "data/colorgram/000.json": b"{}"}
    prepared.run(write_raw(tmp_path / "raw", members))
    counts = json.loads((prepared.report / "counts.json").read_text())
    num_val = counts["pairs"]["val"]
    assert 1 <= num_val < 10
    assert counts == {
        "pairs": {"train": 10 - num_val, "val": num_val, "test": 4},
        "verdicts": {"accepted": 14, "rejected": 4, "ignored": 2},
        "exact_duplicates": 2,
        "same_truths": 1,
        "sketches_turned_around": 0,
    }


def test_the_report_contains_counts_and_pictures(prepared: Prepared, tmp_path: Path) -> None:
    members = split_members() | {"data/train/text.png": b"no picture"}
    prepared.run(write_raw(tmp_path / "raw", members))
    report = (prepared.report / "report.md").read_text()
    assert "not a picture" in report
    assert "contact_sheet.png" in report
    with Image.open(prepared.report / "contact_sheet.png") as sheet:
        assert len(sheet.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 20


def test_an_archive_without_pairs_is_refused_with_the_reasons(
    prepared: Prepared, tmp_path: Path
) -> None:
    cases: dict[str, dict[str, bytes]] = {
        "no members": {},
        "2 × not a picture by its name": {"readme.txt": b"hello", "b.txt": b""},
        "1 × not a picture": {"train/a.png": b"no picture"},
    }
    for reasons, members in cases.items():
        expected = rf"no pairs for train and val and test .*left out: {reasons};"
        with pytest.raises(DataError, match=expected):
            prepared.run(write_raw(tmp_path / "raw", members), sketch_side="right")


def test_a_missing_or_damaged_archive_is_reported(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro download"):
        prepared.run(tmp_path / "nowhere")
    raw = write_raw(tmp_path / "raw", split_members())
    content = (raw / "pairs.zip").read_bytes()
    (raw / "pairs.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged"):
        prepared.run(raw)


def test_a_damaged_member_is_rejected_by_name_and_the_rest_are_packed(
    prepared: Prepared, tmp_path: Path
) -> None:
    raw = write_raw(tmp_path / "raw", split_members())
    content = bytearray((raw / "pairs.zip").read_bytes())
    with zipfile.ZipFile(raw / "pairs.zip") as archive:
        content[archive.getinfo("data/train/003.png").header_offset + 80] ^= 0xFF
    (raw / "pairs.zip").write_bytes(content)
    prepared.run(raw)
    assert prepared.reason("data/train/003.png").startswith("damaged in the archive: Bad CRC-32")
    assert sum(prepared.dataset()["pairs"].values()) == 15


def test_no_temporary_file_remains(prepared: Prepared, tmp_path: Path) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "raw", "report"]


def members_with_wrong_pairs(num_pairs: int, num_wrong: int) -> dict[str, bytes]:
    """Drawn pairs, of which the first have another's sketch."""
    members = {}
    for k in range(num_pairs):
        colour, sketch = draw_halves(k)
        if k < num_wrong:
            sketch = draw_halves(500 + k)[1]
        members[f"train/{k:02}.png"] = beside(colour, sketch)
    return members


def test_pairs_whose_halves_dont_belong_together_are_rejected_by_name_and_shown(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.run(write_raw(tmp_path / "raw", members_with_wrong_pairs(14, 4)), image_size=SIDE_PX)
    table = prepared.manifest.set_index("member")
    rejected = table[table["verdict"] == "rejected"]
    assert list(rejected.index) == [f"train/{k:02}.png" for k in range(4)]
    assert rejected["reason"].str.contains("halves|lie on the colour half").all()
    assert (rejected["match"] < 0.5).all()
    assert (table["match"] > 0.5).sum() == 10
    assert prepared.counts()["verdicts"]["accepted"] == 10
    report = (prepared.report / "report.md").read_text()
    assert "4 of 14 pairs (28.6%) were rejected" in report
    assert all(f"`{k:02}`" in report for k in range(14))
    with Image.open(prepared.report / "worst_pairs.png") as worst:
        red = (np.asarray(worst) == (215, 45, 45)).all(axis=-1).sum(axis=1)
        assert red[: worst.height // 2].any()
        assert not red[worst.height // 2 :].any()
    with Image.open(prepared.report / "measures.png") as measures:
        assert (np.asarray(measures) == (215, 45, 45)).all(axis=-1).any()


def test_a_copy_is_not_shown_among_the_accepted_pairs(prepared: Prepared, tmp_path: Path) -> None:
    members = members_with_wrong_pairs(14, 4)
    members["train/99.png"] = members["train/05.png"]
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX)
    assert prepared.reason("train/99.png").startswith("exact duplicate")
    report = (prepared.report / "report.md").read_text()
    accepted = {line.split("`")[1] for line in report.splitlines() if line.endswith("accepted |")}
    assert accepted == {f"{number:02}" for number in range(4, 14)}


def test_a_set_in_which_most_pairs_are_wrong_is_refused_unless_checks_are_off(
    prepared: Prepared, tmp_path: Path
) -> None:
    raw = write_raw(tmp_path / "raw", members_with_wrong_pairs(12, 8))
    with pytest.raises(DataError, match=r"most pairs don't belong together, 8 of 12: .*'00': "):
        prepared.run(raw)
    assert not (prepared.folder / "dataset.json").exists()
    prepared.run(raw, pair_checks="off")
    assert prepared.counts()["verdicts"]["accepted"] == 12


def test_a_lone_val_that_becomes_test_is_said_in_words(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.run(write_raw(tmp_path / "raw", split_members()))
    said = "The archive's val folder is the test set"
    assert said in capsys.readouterr().out
    assert said in (prepared.report / "report.md").read_text()
    assert prepared.dataset()["archive_val_is_test"] is True


def test_a_val_of_one_pair_and_enlarged_pictures_are_said(
    prepared: Prepared, tmp_path: Path
) -> None:
    members = split_members(num_train=8) | {"data/test/1.png": pair_png(2000)}
    del members["data/val/001.png"], members["data/val/002.png"], members["data/val/003.png"]
    prepared.run(write_raw(tmp_path / "raw", members), image_size=128)
    report = (prepared.report / "report.md").read_text()
    assert "Only 1 pair chooses the best epoch" in report
    assert "10 of 10 pairs are smaller than 128 px and were enlarged" in report
    assert "val folder is the test set" not in report


def test_one_truth_with_two_sketches_mirrored_or_cropped_leaves_train(
    prepared: Prepared, tmp_path: Path
) -> None:
    colour, sketch = draw_halves(1001)
    copies = {
        "other_sketch": (colour, draw_halves(50)[1]),
        "mirrored": (colour[:, ::-1], sketch[:, ::-1]),
        "cropped": (colour[5:, :-6], sketch[5:, :-6]),
    }
    members = split_members()
    for name, halves in copies.items():
        members[f"data/train/{name}.png"] = beside(*halves)
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX, pair_checks="off")
    assert len(prepared.ids("test")) == 4
    for name in copies:
        assert prepared.reason(f"data/train/{name}.png") == "same truth: as 'test/001' in test"


def test_copies_share_a_split_where_the_archive_has_none(
    prepared: Prepared, tmp_path: Path
) -> None:
    members = {}
    for number in range(12):
        colour, sketch = draw_halves(number)
        members[f"{number:02}.png"] = beside(colour, sketch)
        mirrored = [half[:, ::-1] for half in (colour, sketch)]
        members[f"{number:02}_mirrored.png"] = beside(*mirrored)
    prepared.run(write_raw(tmp_path / "raw", members), image_size=SIDE_PX)
    splits = prepared.manifest.set_index("id")["split"]
    assert len(splits) == 24
    assert set(splits) == {"train", "val", "test"}
    for number in range(12):
        assert splits[f"{number:02}"] == splits[f"{number:02}_mirrored"]


def test_pictures_of_odd_width_are_called_so(prepared: Prepared, tmp_path: Path) -> None:
    odd = {f"{k}.png": png(np.zeros((64, 127), np.uint8)) for k in range(3)}
    with pytest.raises(DataError, match=r"3 × odd width: 127×64 px can't be halved"):
        prepared.run(write_raw(tmp_path / "raw", odd))
