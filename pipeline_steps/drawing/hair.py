"""Hair: what falls behind the head, and what frames the face. The cut decides the colour.

Everything is in the head's own units: the face is about 176 wide, from −110 (crown) to 104 (chin).
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline_steps.drawing.brush import (
    Canvas,
    Colour,
    Outline,
    Point,
    bow,
    ellipse,
    flipped,
    mirrored,
    path,
    ribbon,
    shade,
    spline,
    tint,
)

CROWN: list[Point] = [
    (-101, 22),
    (-107, -30),
    (-86, -94),
    (-40, -126),
    (0, -132),
    (40, -126),
    (86, -94),
    (107, -30),
    (101, 22),
]

Draw = Callable[[Canvas, random.Random, Colour], None]


@dataclass(frozen=True)
class Fringe:
    """The lower edge of the front hair: the tips of its locks from right to left.

    ``rise`` is how far the notches between them lie above, ``bulge`` how round the locks are.
    """

    tips: tuple[Point, ...]
    rise: float
    bulge: float


@dataclass(frozen=True)
class HairStyle:
    """A haircut with the one hair colour and eyes that go with it."""

    colour: Colour
    eyes: str
    fringe: Fringe
    back: Draw
    sides: Draw


def _bob_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    left = [(0, -120), (-96, -80), (-122, 0), (-128, 62), (-100, 112), (-48, 104)]
    canvas.shape(spline(mirrored(left), closed=True), shade(colour))


def _long_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    fall = rng.uniform(230, 300)
    left: list[Point] = [(0, -120), (-98, -80), (-122, 10), (-134, 130), (-128, fall)]
    ends: list[list[Point]] = []
    tips = 4
    for k in range(tips):
        x = -128 + 256 * (k + 0.5) / tips
        ends.append([(x - 14, fall + 26)])
        ends.append([(x + 32, fall - 4)])
    right = [(-x, y) for x, y in reversed(left)]
    canvas.shape(path(left, *ends[:-1], right), shade(colour))
    for x in (-96, -70, 70, 96):
        canvas.line([(x * 0.98, 20), (x * 1.12, 120), (x * 1.06, fall - 30)], 3.5)


def _hime_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    fall = rng.uniform(215, 280)
    left = [(0, -120), (-98, -80), (-120, 10), (-124, 130), (-122, fall)]
    right = [(-x, y) for x, y in reversed(left)]
    canvas.shape(path(left, [(122, fall)], right[1:]), shade(colour))
    for x in (-108, -92, -76, 76, 92, 108):
        canvas.line([(x, 30), (x, fall - 8)], 3.5)


def _wavy_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    out = rng.uniform(-4, 8)
    left = [(0, -122), (-94, -84), (-124, -10), (-110, 46), (-140 - out, 92), (-118, 142)]
    left += [(-150 - out, 190), (-122, 232), (-80, 214), (-40, 236)]
    canvas.shape(spline(mirrored(left), closed=True), shade(colour))
    for side in (1, -1):
        wave = [(-96, 30), (-106, 80), (-92, 124), (-116, 168), (-98, 206)]
        canvas.line(flipped(wave, side), 4)


def _spiky_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    spikes: list[list[Point]] = []
    count = 13
    start = 0.0
    previous: Point = (0, 0)
    for k in range(count + 1):
        start = math.radians(150 + 240 * k / count)
        valley = (108 * math.cos(start), -10 + 108 * math.sin(start))
        if k:
            middle = math.radians(150 + 240 * (k - 0.5) / count)
            reach = rng.uniform(144, 164)
            tip = (reach * math.cos(middle), -14 + reach * math.sin(middle))
            spikes += [bow(previous, tip, -6), bow(tip, valley, 4)]
        previous = valley
    first: Point = (108 * math.cos(math.radians(150)), -10 + 108 * math.sin(math.radians(150)))
    canvas.shape(path([first, first], *spikes, [first]), shade(colour))


def _curly_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    for k in range(13):
        angle = math.radians(130 + 280 * k / 12)
        x, y = 106 * math.cos(angle), -8 + 106 * math.sin(angle)
        canvas.shape(ellipse(x, y, 40, 40), colour)
        canvas.line([(x - 14, y + 4), (x, y - 14), (x + 15, y + 2), (x + 2, y + 12)], 3.5)


def _tail(canvas: Canvas, spine: Sequence[Point], width: float, colour: Colour) -> None:
    canvas.shape(ribbon(spine, [0.45 * width, width, 0.95 * width, 0.6 * width, 1]), colour)
    inner = [(x * 0.985 + 3, y) for x, y in spine[1:]]
    canvas.line(inner, 4)
    canvas.line([(x + 0.2 * width, y + 8) for x, y in spine[1:-1]], 3)


def _twin_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    _nape(canvas, colour)
    swing, fall = rng.uniform(-12, 14), rng.uniform(180, 230)
    spine = [(-92, -62), (-150, -58), (-178 - swing, 30), (-166, 120), (-140 - swing, fall)]
    for side in (1, -1):
        _tail(canvas, flipped(spine, side), 72, colour)
        with canvas.pose(-100 * side, -64):
            canvas.shape(ellipse(0, 0, 15, 20), (232, 62, 74), width=4)


def _nape(canvas: Canvas, colour: Colour) -> None:
    left = [(0, -120), (-94, -80), (-108, 0), (-98, 66), (-50, 92)]
    canvas.shape(spline(mirrored(left), closed=True), shade(colour))


def _pony_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    _nape(canvas, colour)
    swing = rng.uniform(-10, 16)
    spine = [(44, -106), (112, -150), (164, -80), (162 + swing, 40), (132 + swing, 150)]
    _tail(canvas, spine, 84, colour)
    canvas.shape(ellipse(62, -120, 15, 22, 35), (72, 134, 224), width=4)


def _buns_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    _nape(canvas, colour)
    size = rng.uniform(40, 46)
    for side in (1, -1):
        with canvas.pose(-80 * side, -112, flip=side < 0):
            canvas.shape(ellipse(0, 0, size, size), colour)
            canvas.line([(-24, 6), (-10, -22), (20, -14), (20, 14), (-4, 14), (-4, -2)], 4)


def _braids_back(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    _nape(canvas, colour)
    swing = rng.uniform(-8, 12)
    for side in (1, -1):
        for k in range(6, -1, -1):
            x, y = -98 - swing * (k / 6) ** 2, 60 + 25 * k
            wide = 27 - 1.6 * k
            canvas.shape(ellipse(side * x, y, wide, 19, 28 * (-1) ** k * side), colour)
        tip_x = side * (-98 - swing * 1.2)
        canvas.shape(ribbon([(tip_x, 222), (tip_x, 240), (tip_x, 270)], [16, 34, 1]), colour)
        canvas.shape(ellipse(tip_x, 226, 16, 9), (88, 178, 96), width=4)


def _lock(canvas: Canvas, spine: Sequence[Point], width: float, colour: Colour) -> None:
    canvas.shape(ribbon(spine, [width, width, 0.8 * width, 1]), colour, shadow=5)


def _pair(spine: Sequence[Point], width: float, strands: int = 1) -> Draw:
    """Return how to draw one lock before each ear, with some strands in it."""

    def draw(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
        drop = rng.uniform(-6, 8)
        for side in (1, -1):
            moved = [(x, y + (drop if y > 60 else 0)) for x, y in flipped(spine, side)]
            _lock(canvas, moved, width, colour)
            for k in range(strands):
                shift = side * width * (0.12 - 0.25 * k)
                canvas.line([(x + shift, y - 6) for x, y in moved[1:]], 3)

    return draw


def _hime_sides(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    end = rng.uniform(74, 92)
    for side in (1, -1):
        block = path(flipped([(-106, -50)], side), flipped([(-106, end)], side))
        corner = [flipped([(-66, end)], side), flipped([(-72, -50)], side)]
        canvas.shape(path(block.tolist(), *corner), colour, shadow=5)
        canvas.line(flipped([(-92, -20), (-92, end - 8)], side), 3.5)
        canvas.line(flipped([(-79, -20), (-79, end - 8)], side), 3)


def _curly_sides(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    for side in (1, -1):
        for y in (60, 22):
            x = -102 * side
            canvas.shape(ellipse(x, y, 25, 25), colour, shadow=5)
            canvas.line([(x - 9, y + 2), (x, y - 10), (x + 10, y + 2), (x, y + 8)], 3.5)


HAIR_STYLES = {
    "bob": HairStyle(
        (74, 144, 230),
        "round",
        Fringe(((78, 2), (44, -12), (8, -8), (-28, -14), (-68, 2)), 22, 9),
        _bob_back,
        _pair([(-98, -40), (-108, 20), (-104, 72), (-76, 112)], 40),
    ),
    "twin_tails": HairStyle(
        (250, 134, 182),
        "sparkle",
        Fringe(((84, 18), (50, -16), (0, 14), (-50, -16), (-84, 18)), 48, 6),
        _twin_back,
        _pair([(-94, -40), (-104, 20), (-98, 70), (-104, 122)], 22, 0),
    ),
    "ponytail": HairStyle(
        (248, 150, 50),
        "sharp",
        Fringe(((92, 12), (70, -22), (20, -30), (-34, -14), (-80, 26)), 16, 12),
        _pony_back,
        _pair([(-94, -40), (-102, 10), (-96, 52), (-82, 92)], 22, 0),
    ),
    "long_straight": HairStyle(
        (156, 118, 220),
        "soft",
        Fringe(((86, 30), (62, 8), (-56, 8), (-84, 30)), 66, 14),
        _long_back,
        _pair([(-96, -40), (-106, 30), (-108, 110), (-100, 190)], 30, 2),
    ),
    "spiky": HairStyle(
        (252, 212, 66),
        "sharp",
        Fringe(((88, 16), (58, 20), (24, -2), (-4, 26), (-36, -4), (-66, 18), (-90, 14)), 50, 3),
        _spiky_back,
        _pair([(-98, -40), (-108, 0), (-106, 40), (-114, 74)], 28, 0),
    ),
    "buns": HairStyle(
        (222, 66, 62),
        "round",
        Fringe(((82, 0), (48, -24), (16, -30), (-16, -30), (-48, -24), (-82, 0)), 14, 13),
        _buns_back,
        _pair([(-94, -40), (-104, 14), (-100, 60), (-86, 100)], 26, 1),
    ),
    "braids": HairStyle(
        (158, 100, 58),
        "soft",
        Fringe(((90, 22), (78, -6), (-30, -38), (-60, -8), (-88, 22)), 26, 16),
        _braids_back,
        _pair([(-96, -40), (-106, 10), (-106, 50), (-98, 76)], 24, 0),
    ),
    "wavy": HairStyle(
        (62, 190, 172),
        "soft",
        Fringe(((84, 22), (58, -6), (26, -18), (-46, -12), (-80, 22)), 30, 18),
        _wavy_back,
        _pair([(-94, -40), (-110, 14), (-94, 62), (-114, 112), (-96, 156)], 32, 1),
    ),
    "hime": HairStyle(
        (72, 72, 128),
        "sharp",
        Fringe(((86, -14), (52, -14), (18, -14), (-18, -14), (-52, -14), (-86, -14)), 3, 0),
        _hime_back,
        _hime_sides,
    ),
    "curly": HairStyle(
        (128, 192, 84),
        "sparkle",
        Fringe(((80, 0), (42, -14), (0, -18), (-42, -14), (-80, 0)), 20, 21),
        _curly_back,
        _curly_sides,
    ),
}


def fringe_outline(fringe: Fringe) -> Outline:
    """Return the outline of the front hair: over the crown, and back along the locks."""
    edge: list[list[Point]] = []
    here = CROWN[-1]
    for k, tip in enumerate(fringe.tips):
        edge.append(_lock_side(here, tip, fringe.bulge))
        if k + 1 < len(fringe.tips):
            following = fringe.tips[k + 1]
            notch = ((tip[0] + following[0]) / 2, min(tip[1], following[1]) - fringe.rise)
        else:
            notch = CROWN[0]
        edge.append(_lock_side(tip, notch, fringe.bulge))
        here = notch
    return path(CROWN, *edge)


def _lock_side(start: Point, end: Point, bulge: float) -> list[Point]:
    # A bulge that is deep for its chord would cross the next lock.
    return bow(start, end, min(bulge, 0.2 * math.dist(start, end)))


def draw_front_hair(canvas: Canvas, rng: random.Random, style: HairStyle, colour: Colour) -> None:
    """Draw what lies over the face: side locks, fringe, strands and the band of light."""
    style.sides(canvas, rng, colour)
    outline = fringe_outline(style.fringe)
    canvas.shape(outline, colour)
    canvas.paint(_shine(), tint(colour, 0.4), within=outline)
    for left, right in zip(style.fringe.tips[1:], style.fringe.tips[:-1], strict=True):
        x = (left[0] + right[0]) / 2
        y = min(left[1], right[1]) - style.fringe.rise
        canvas.line([(x, y), (x * 0.86, y - 24), (x * 0.55, max(y - 48, -104))], 3.5)


def _shine() -> Outline:
    """The ring of light about the crown, ragged along its lower edge."""
    upper = [(-92, -52), (-62, -88), (0, -104), (62, -88), (92, -52)]
    lower = [(80, -58), (68, -52), (56, -72), (38, -62), (22, -84), (0, -70)]
    lower += [(-22, -84), (-38, -62), (-56, -72), (-68, -52), (-80, -58), (-92, -52)]
    return path(upper, *([point] for point in lower))
