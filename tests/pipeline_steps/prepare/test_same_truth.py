"""A truth is found again re-coded, mirrored and cropped; drawings in one style stay apart."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageOps

from pipeline_steps.prepare.crop_matching import TRUTH_PX
from pipeline_steps.prepare.same_truth import same_truth_groups

SIDE_PX = 256
MAX_DIFFERENCE = 40
COLOURS = ((220, 60, 60), (60, 140, 220), (70, 180, 90), (240, 200, 60), (150, 90, 190))


def draw_picture(seed: int) -> Image.Image:
    """A few outlined shapes, different for every seed."""
    random = np.random.default_rng(seed)
    page = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    pen = ImageDraw.Draw(page)
    for _ in range(7):
        x, y, width, height = (int(each) for each in random.integers(10, 120, 4))
        x, y = 2 * x - 20, 2 * y - 20
        fill = COLOURS[int(random.integers(len(COLOURS)))]
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape((x, y, x + width, y + height), fill=fill, outline="black", width=4)
    return page


def draw_face(mouth: int, colour: tuple[int, int, int] = (250, 210, 40)) -> Image.Image:
    """Every face has one outline; only the mouth or the colour differs."""
    page = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    pen = ImageDraw.Draw(page)
    pen.ellipse((20, 20, 236, 236), fill=colour, outline="black", width=6)
    for x in (90, 166):
        pen.ellipse((x - 8, 90, x + 8, 110), fill="black")
    start = mouth * 45 + 9  # no mouth is nearly another one mirrored
    pen.arc((80, 120, 176, 200), start, start + 140, fill="black", width=6)
    return page


def recoded(picture: Image.Image, quality: int = 75) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(
    picture: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    """Without these shares of its sides."""
    width, height = picture.size
    return picture.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )


def truth_of(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """As it is compared: TRUTH_PX×TRUTH_PX×3."""
    return np.asarray(picture.resize((TRUTH_PX, TRUTH_PX), Image.Resampling.BOX))


def groups_of(
    pictures: list[Image.Image], max_difference: float = MAX_DIFFERENCE
) -> list[list[int]]:
    truths = np.stack([truth_of(picture) for picture in pictures])
    with tempfile.TemporaryDirectory() as folder:
        groups = same_truth_groups(truths, range(len(pictures)), max_difference, Path(folder))
        return list(groups)


def groups_of_many(pictures: list[Image.Image]) -> list[list[int]]:
    return [group for group in groups_of(pictures) if len(group) > 1]


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recoded": recoded,
    "half the size": lambda picture: picture.resize((128, 128), Image.Resampling.LANCZOS),
    "mirrored": ImageOps.mirror,
    "mirrored and recoded": lambda picture: recoded(ImageOps.mirror(picture)),
    "left 4 % cut off": lambda picture: cropped(picture, 0.04, 0, 0, 0),
    "top 20 % cut off": lambda picture: cropped(picture, 0, 0.2, 0, 0),
    "right and bottom cut off": lambda picture: cropped(picture, 0, 0, 0.15, 0.1),
    "all sides cut off": lambda picture: cropped(picture, 0.08, 0.1, 0.06, 0.09),
    "cropped, enlarged and recoded": lambda picture: recoded(
        cropped(picture, 0.07, 0, 0.1, 0.05).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    ),
    "cropped and mirrored": lambda picture: ImageOps.mirror(cropped(picture, 0, 0.1, 0.12, 0)),
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [draw_picture(seed) for seed in range(24)]


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_shares_its_truth(pictures: list[Image.Image], kind: str) -> None:
    copies = [COPIES[kind](picture) for picture in pictures]
    assert groups_of_many([*pictures, *copies]) == [[k, k + 24] for k in range(24)]


def test_different_drawings_in_one_style_are_different() -> None:
    assert groups_of_many([draw_picture(seed) for seed in range(60)]) == []


def test_faces_that_differ_in_the_mouth_are_different() -> None:
    assert groups_of_many([draw_face(mouth) for mouth in range(8)]) == []


def test_another_colouring_of_the_same_lines_is_different() -> None:
    assert groups_of_many([draw_face(0), draw_face(0, colour=(60, 90, 220))]) == []


def test_copies_of_copies_are_one_group() -> None:
    picture = draw_picture(3)
    chain = [picture, ImageOps.mirror(picture), cropped(ImageOps.mirror(picture), 0.1, 0, 0, 0)]
    assert groups_of([draw_picture(4), *chain]) == [[0], [1, 2, 3]]


def test_without_a_difference_allowed_nothing_is_grouped() -> None:
    assert groups_of([draw_picture(3), draw_picture(3)], max_difference=0) == [[0], [1]]


def test_pairs_keep_their_numbers(tmp_path: Path) -> None:
    pictures = [draw_picture(seed) for seed in (1, 2, 1)]
    truths = np.zeros((9, TRUTH_PX, TRUTH_PX, 3), np.uint8)
    truths[[2, 5, 8]] = [truth_of(picture) for picture in pictures]
    groups = same_truth_groups(truths, [2, 5, 8], MAX_DIFFERENCE, tmp_path)
    assert list(groups) == [[2, 8], [5]]
