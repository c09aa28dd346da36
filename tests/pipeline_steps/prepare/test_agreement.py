"""Halves that belong together are told from those that don't, whatever the pen."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from colorizer.pictures.squares import fit_sketch, fit_square
from pipeline_steps.drawing.character import draw_pair
from pipeline_steps.pairs.packed import pack
from pipeline_steps.prepare.agreement import Agreement, measure_agreement, objection, severity

SIZE = 128
NUMBERS = (0, 3, 8)
Pair = tuple[Image.Image, Image.Image]
Redraw = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def drawn() -> list[Pair]:
    """Characters as colour picture (RGB) and sketch (L), 256×256."""
    return [
        (colour.resize((256, 256)), sketch.resize((256, 256)))
        for colour, sketch in (draw_pair(7, number) for number in NUMBERS)
    ]


def measure(colour: Image.Image, sketch: Image.Image, size: int = SIZE) -> Agreement:
    square, placement = fit_square(colour, size)
    return measure_agreement(pack(square, fit_sketch(sketch, size)[0]), placement)


def moved(sketch: Image.Image, right: int, down: int) -> Image.Image:
    paper = Image.new("L", sketch.size, 255)
    paper.paste(sketch, (right, down))
    return paper


def faded(sketch: Image.Image, share: float) -> Image.Image:
    return sketch.point([round(255 - (255 - level) * share) for level in range(256)])


def with_grain(sketch: Image.Image) -> Image.Image:
    grain = np.random.default_rng(1).normal(0, 12, sketch.size)
    return Image.fromarray(np.clip(np.asarray(sketch) + grain, 0, 255).astype(np.uint8))


def with_gaps(sketch: Image.Image) -> Image.Image:
    pixels = np.array(sketch)
    for top, left in np.random.default_rng(1).integers(0, 248, (120, 2)):
        pixels[top : top + 8, left : left + 8] = 255
    return Image.fromarray(pixels)


def half_blurred(sketch: Image.Image) -> Image.Image:
    result = sketch.copy()
    result.paste(sketch.filter(ImageFilter.GaussianBlur(3)).crop((0, 0, 128, 256)))
    return result


PENS: dict[str, Redraw] = {
    "as drawn": lambda sketch: sketch,
    "thicker": lambda sketch: sketch.filter(ImageFilter.MinFilter(3)),
    "much thicker": lambda sketch: sketch.filter(ImageFilter.MinFilter(5)),
    "lighter": lambda sketch: faded(sketch, 0.35),
    "faint": lambda sketch: faded(sketch, 0.18),
    "grainy": with_grain,
    "half blurred": half_blurred,
    "with gaps": with_gaps,
    "off by a little": lambda sketch: moved(sketch, 2, -1),
}


@pytest.mark.parametrize("pen", list(PENS))
def test_a_true_pair_is_accepted_whatever_the_pen(drawn: list[Pair], pen: str) -> None:
    for colour, sketch in drawn:
        assert objection(measure(colour, PENS[pen](sketch)), "strict") == ""


WRONG: dict[str, Redraw] = {
    "mirrored": lambda s: s.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned right by 90°": lambda s: s.transpose(Image.Transpose.ROTATE_90),  # to the left
    "turned by 180°": lambda s: s.transpose(Image.Transpose.ROTATE_180),
    "moved by -8% right and 0% down": lambda s: moved(s, 20, 0),
    "moved by 5% right and -8% down": lambda s: moved(s, -12, 20),
    "reduced to 8": lambda s: s.resize((256, 256), box=(26, 26, 230, 230)),
    "enlarged to 1": lambda s: ImageOps.expand(s.resize((224, 224)), 16, 255),
}
"""By what would make it fit, which undoes the change."""


@pytest.mark.parametrize("fit", list(WRONG))
def test_a_sketch_that_lies_elsewhere_is_rejected_with_how_it_would_fit(
    drawn: list[Pair], fit: str
) -> None:
    for colour, sketch in drawn:
        reason = objection(measure(colour, WRONG[fit](sketch)), "strict")
        assert reason.startswith(f"sketch doesn't lie on the colour half: it fits if {fit}")


def grey(picture: Image.Image) -> Image.Image:
    return picture.convert("L")


def test_a_sketch_of_another_picture_is_rejected(drawn: list[Pair]) -> None:
    for number, (colour, _) in enumerate(drawn):
        for other in (1, 2):
            sketch = drawn[(number + other) % len(drawn)][1]
            reason = objection(measure(colour, sketch), "strict")
            assert reason.startswith("halves don't belong together: match")


@pytest.mark.parametrize("lightness", [0, 100])
def test_the_colour_picture_in_grey_is_no_sketch(drawn: list[Pair], lightness: int) -> None:
    for colour, _ in drawn:
        toned = faded(grey(colour), 1 - lightness / 255)
        reason = objection(measure(colour, toned), "strict")
        assert reason.startswith("sketch half is a toned picture")


def test_a_truth_without_colour_is_rejected(drawn: list[Pair]) -> None:
    for colour, sketch in drawn:
        reason = objection(measure(grey(colour).convert("RGB"), sketch), "strict")
        assert reason.startswith("colour half has no colour")


def test_a_sketch_of_grain_has_no_lines(drawn: list[Pair]) -> None:
    paper = np.random.default_rng(0).normal(245, 3, (256, 256)).clip(0, 255).astype(np.uint8)
    reason = objection(measure(drawn[0][0], Image.fromarray(paper)), "strict")
    assert reason.startswith("no lines in the sketch half")


def test_packed_size_padding_and_strictness_change_what_they_should(drawn: list[Pair]) -> None:
    colour, sketch = drawn[0]
    large, small = (measure(colour, sketch, size) for size in (256, 128))
    assert abs(large.match - small.match) < 0.1
    wide = colour.crop((0, 60, 256, 180)), sketch.crop((0, 60, 256, 180))
    assert objection(measure(*wide), "strict") == ""
    assert objection(measure(wide[0], moved(wide[1], 20, 0)), "strict")
    slightly = dataclasses.replace(small, gain=0.12, worst_stray=0.2)
    assert objection(slightly, "strict")
    assert objection(slightly, "lenient") == objection(slightly, "off") == ""


def test_severity_ranks_what_is_rejected_above_what_is_accepted(drawn: list[Pair]) -> None:
    colour, sketch = drawn[0]
    right = measure(colour, sketch)
    for wrong in (
        measure(colour, drawn[1][1]),
        measure(colour, moved(sketch, 20, 0)),
        measure(colour, grey(colour)),
        dataclasses.replace(right, chroma=3.0),
        dataclasses.replace(right, contrast=5.0),
    ):
        assert severity(wrong) > 1 > severity(right)


def test_a_photos_grain_is_no_sketch_and_a_broad_pen_beside_flat_colours_is(
    drawn: list[Pair],
) -> None:
    y, x = np.mgrid[:128, :128] - 64
    radius = np.hypot(x, y)
    flat = np.full((128, 128, 3), 255, np.uint8)
    flat[radius < 40] = (250, 80, 30)
    broad = np.where(np.abs(radius - 40) < 3, 0, 255).astype(np.uint8)
    agreement = measure(Image.fromarray(flat), Image.fromarray(broad))
    assert objection(agreement, "strict") == ""
    grain = np.random.default_rng(0).normal(140, 20, (128, 128))
    grain[radius < 40] -= 40
    photo = Image.fromarray(grain.clip(0, 255).astype(np.uint8))
    assert objection(measure(Image.fromarray(flat), photo), "lenient")
