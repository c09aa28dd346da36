"""Clothes and what is worn on the head. The kind decides the colours.

Clothes are in the body's units (y downwards, the neck's root about 0, see :class:`Build`);
headwear is in the head's units.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline_steps.drawing.brush import (
    Canvas,
    Colour,
    Outline,
    Point,
    ellipse,
    flipped,
    path,
    ribbon,
    spline,
)
from pipeline_steps.drawing.face import SKIN, SKIN_DARK
from pipeline_steps.drawing.scenery import blossom, heart_outline, star_outline

WHITE: Colour = (255, 255, 255)
PAPER_SHADE: Colour = (216, 216, 236)
GOLD: Colour = (250, 204, 72)
RED: Colour = (228, 56, 66)


@dataclass(frozen=True)
class Build:
    """A body's measures: half widths, and heights below the root of the neck."""

    shoulder: float
    waist: float
    hem: float
    waist_y: float
    hem_y: float
    legs: float
    """0 where the picture ends above them."""
    limb: float
    """Width of an arm; the scale of everything sewn on."""


Dress = Callable[[Canvas, Build], None]


@dataclass(frozen=True)
class Garment:
    """Clothes: their main colour, sleeves, and what else there is to draw."""

    top: Colour
    sleeve: Colour
    sleeve_reach: float
    """How much of the arm is covered, 0 to 1."""
    sleeve_flare: float
    """Width of the sleeve's end over its beginning."""
    shoe: Colour
    details: Dress
    skirt: Colour | None = None
    leg: Colour = SKIN


def torso_outline(build: Build) -> Outline:
    """Return the outline from neck to hem."""
    s, w, h = build.shoulder, build.waist, build.hem
    neck = 0.36 * s
    left: list[Point] = [(-neck, -6), (-0.75 * s, 4), (-s, 0.16 * build.waist_y + 6)]
    down: list[Point] = [(-0.9 * s, 0.5 * build.waist_y), (-w, build.waist_y)]
    flare: list[Point] = [(-0.5 * (w + h) - 2, 0.5 * (build.waist_y + build.hem_y))]
    flare.append((-h, build.hem_y))
    half = [*left, *down]
    right = [(-x, y) for x, y in reversed(half)]
    hem: list[Point] = [(0, build.hem_y + 0.1 * h), (h, build.hem_y)]
    return path(half, flare, hem, [(-flare[0][0], flare[0][1]), (w, build.waist_y)], right[1:])


def skirt_outline(build: Build) -> Outline:
    """Return the part of the torso's outline below the waist."""
    w, h, top = build.waist + 2, build.hem, build.waist_y
    middle = 0.5 * (top + build.hem_y)
    return path(
        [(-w, top), (-0.5 * (w + h) - 2, middle), (-h, build.hem_y)],
        [(0, build.hem_y + 0.1 * h), (h, build.hem_y)],
        [(0.5 * (w + h) + 2, middle), (w, top)],
        [(0, top + 0.08 * w), (-w, top)],
    )


def draw_legs(canvas: Canvas, build: Build, garment: Garment) -> None:
    """Draw legs and shoes below the hem."""
    top, foot = build.hem_y - 8, build.hem_y + build.legs
    for side in (1, -1):
        x = -0.42 * build.waist * side
        wide = 1.35 * build.limb
        leg = ribbon([(x, top), (x, foot - 4)], [wide, wide, 0.85 * wide])
        dark = SKIN_DARK if garment.leg == SKIN else None
        canvas.shape(leg, garment.leg, shadow=4, dark=dark)
        shoe = spline(
            [
                (x - 0.55 * wide, foot - 12),
                (x + 0.55 * wide, foot - 12),
                (x + 0.62 * wide, foot + 10),
                (x, foot + 16),
                (x - 0.72 * wide, foot + 10),
            ],
            closed=True,
        )
        canvas.shape(shoe, garment.shoe, shadow=4)


def draw_garment(canvas: Canvas, build: Build, garment: Garment) -> None:
    """Draw the torso with its clothes, without the arms."""
    neck = 0.27 * build.shoulder
    throat = path([(-neck, -46)], [(neck, -46)], [(neck, 8)], [(0, 22), (-neck, 8)])
    canvas.shape(throat, SKIN, dark=SKIN_DARK, width=4.5)
    chin = ellipse(0, -40, 1.3 * neck, 40)
    canvas.paint(chin, SKIN_DARK, within=throat)
    canvas.shape(torso_outline(build), garment.top, dark=_dark_of(garment.top))
    if garment.skirt is not None:
        canvas.shape(skirt_outline(build), garment.skirt, dark=_dark_of(garment.skirt))
        _pleats(canvas, build)
    _neckline(canvas, build)
    garment.details(canvas, build)


def _dark_of(colour: Colour) -> Colour | None:
    return PAPER_SHADE if colour == WHITE else None


def _pleats(canvas: Canvas, build: Build) -> None:
    for k in (-0.66, -0.34, 0.0, 0.34, 0.66):
        upper = (k * build.waist, build.waist_y + 16)
        canvas.line([upper, (k * build.hem, build.hem_y - 4)], 3.5)


def _neckline(canvas: Canvas, build: Build) -> None:
    neck = 0.3 * build.shoulder
    hole = path([(-neck, -8), (0, -14), (neck, -8)], [(0, 22), (-neck, -8)])
    canvas.shape(hole, SKIN, width=4, dark=SKIN_DARK, shadow=0)


def _ribbon_bow(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    """Draw a bow of two loops and two ends; ``size`` is half its width."""
    with canvas.pose(x, y):
        for side in (1, -1):
            end = flipped([(-3, 0), (-0.55 * size, 0.95 * size), (-0.2 * size, 0.9 * size)], side)
            canvas.shape(path(end[:1], end[1:2], end[2:], end[:1]), colour, width=4, shadow=3)
        for side in (1, -1):
            loop = flipped(
                [
                    (0, 0),
                    (-0.55 * size, -0.55 * size),
                    (-size, -0.42 * size),
                    (-0.98 * size, 0.4 * size),
                    (-0.5 * size, 0.4 * size),
                ],
                side,
            )
            canvas.shape(path(loop, loop[:1]), colour, shadow=4)
        canvas.shape(ellipse(0, 0, 0.24 * size, 0.27 * size), colour, width=4, shadow=3)


def _sailor(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    navy = (52, 72, 140)
    for side in (1, -1):
        half = flipped([(-0.34 * s, -12), (-0.92 * s, 8), (-0.8 * s, 0.55 * s)], side)
        tip = flipped([(0, 0.82 * s)], side)
        canvas.shape(path(half[:2], half[2:], tip, half[:1]), navy, shadow=4)
        stripe = flipped([(-0.8 * s, 0.15 * s), (-0.7 * s, 0.44 * s), (-0.08 * s, 0.66 * s)], side)
        canvas.line(stripe, 3)
    _ribbon_bow(canvas, 0, 0.82 * s, 0.42 * s, RED)


def _hoodie(canvas: Canvas, build: Build) -> None:
    s, green = build.shoulder, (92, 184, 104)
    hood = [(-0.42 * s, -18), (-0.72 * s, 6), (-0.3 * s, 0.42 * s), (0, 0.5 * s)]
    collar = path(hood, [(-x, y) for x, y in reversed(hood[:-1])], [(0, 0.2 * s), (-0.42 * s, -18)])
    canvas.shape(collar, green, shadow=5)
    for side in (1, -1):
        cord = flipped([(-0.18 * s, 0.4 * s), (-0.2 * s, 0.85 * s)], side)
        canvas.shape(ribbon(cord, [6, 6]), WHITE, width=3, shadow=0)
    low = build.waist_y + 0.1 * s
    pocket = path(
        [(-0.4 * s, low - 0.4 * s)],
        [(0.4 * s, low - 0.4 * s)],
        [(0.6 * s, low)],
        [(0.56 * s, low + 0.3 * s)],
        [(-0.56 * s, low + 0.3 * s)],
        [(-0.6 * s, low)],
        [(-0.4 * s, low - 0.4 * s)],
    )
    canvas.shape(pocket, green, shadow=5)


def _kimono(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    for side in (-1, 1):
        lapel = flipped([(-0.42 * s, -14), (-0.2 * s, 0.3 * s), (0.32 * s, 0.9 * s)], side)
        canvas.shape(ribbon(lapel, [0.24 * s, 0.26 * s, 0.24 * s]), WHITE, dark=PAPER_SHADE)
    y, w = build.waist_y, build.waist + 8
    obi = path(
        [(-w, y - 0.34 * s), (0, y - 0.3 * s), (w, y - 0.34 * s)],
        [(w, y + 0.18 * s)],
        [(0, y + 0.24 * s), (-w, y + 0.18 * s)],
        [(-w, y - 0.34 * s)],
    )
    canvas.shape(obi, GOLD)
    canvas.line([(-w, y - 0.06 * s), (0, y - 0.02 * s), (w, y - 0.06 * s)], 5)
    for x, drop in ((-0.5, 0.6), (0.45, 0.52), (-0.1, 0.95)):
        with canvas.pose(x * s, y + drop * s):
            blossom(canvas, 0.2 * s, (255, 200, 214), GOLD)


def _sundress(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    for side in (1, -1):
        frill = [(-0.36 * s, -6), (-0.7 * s, 0.1 * s), (-0.5 * s, 0.4 * s), (-0.25 * s, 0.36 * s)]
        canvas.shape(spline(flipped(frill, side), closed=True), WHITE, dark=PAPER_SHADE, shadow=4)
    for x, y in ((-0.42, 0.75), (0.1, 0.85), (0.55, 0.68), (-0.1, 1.28), (-0.5, 1.62), (0.5, 1.5)):
        radius = 0.11 * s
        canvas.shape(ellipse(x * s, y * s, radius, radius), WHITE, width=3.5, shadow=0)
    _ribbon_bow(canvas, 0, 0.3 * s, 0.3 * s, (250, 130, 60))


def _armour(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    steel = (178, 194, 214)
    plate = path(
        [(-0.62 * s, 0.16 * s), (0, 0.3 * s), (0.62 * s, 0.16 * s)],
        [(0.72 * s, 0.7 * s), (0, 1.12 * s), (-0.72 * s, 0.7 * s), (-0.62 * s, 0.16 * s)],
    )
    canvas.shape(plate, steel)
    canvas.line([(0, 0.28 * s), (0, 1.1 * s)], 4)
    with canvas.pose(0, 0.6 * s):
        canvas.shape(path(*([p] for p in _diamond(0.2 * s))), (64, 130, 226), shadow=3)
    belt = [
        (-build.waist - 4, build.waist_y),
        (0, build.waist_y + 7),
        (build.waist + 4, build.waist_y),
    ]
    canvas.shape(ribbon(belt, [0.26 * s, 0.26 * s]), GOLD)
    for side in (1, -1):
        guard = [
            (-0.62 * s, 0.0),
            (-1.05 * s, -0.04 * s),
            (-1.3 * s, 0.4 * s),
            (-0.95 * s, 0.5 * s),
        ]
        canvas.shape(spline(flipped(guard, side), closed=True), steel)


def _diamond(radius: float) -> list[Point]:
    return [(0, -1.4 * radius), (radius, 0), (0, 1.4 * radius), (-radius, 0), (0, -1.4 * radius)]


def _tee(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    collar = [(-0.32 * s, -8), (-0.2 * s, 0.16 * s), (0.2 * s, 0.16 * s), (0.32 * s, -8)]
    canvas.shape(ribbon(collar, [7, 9, 7]), WHITE, width=3, shadow=0)
    with canvas.pose(0, 0.72 * s):
        canvas.shape(star_outline(0.4 * s), GOLD, shadow=4)


def _maid(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    y, hem = build.waist_y, build.hem_y
    bib = path(
        [(-0.42 * s, 0.3 * s), (0, 0.36 * s), (0.42 * s, 0.3 * s)],
        [(0.5 * build.waist, y)],
        [(-0.5 * build.waist, y)],
        [(-0.42 * s, 0.3 * s)],
    )
    canvas.shape(bib, WHITE, dark=PAPER_SHADE)
    low = hem - 0.1 * (hem - y)
    wide = 0.66 * build.hem
    edge: list[list[Point]] = []
    for k in range(4):
        x = wide - 2 * wide * k / 4
        edge.append([(x - wide / 4, low + 9), (x - wide / 2, low - 2)])
    apron = path(
        [(-0.8 * build.waist, y)],
        [(0.8 * build.waist, y)],
        [(wide, low)],
        *edge,
        [(-0.8 * build.waist, y)],
    )
    canvas.shape(apron, WHITE, dark=PAPER_SHADE)
    for side in (1, -1):
        frill = flipped([(-0.46 * s, -4), (-0.9 * s, 0.02 * s), (-0.95 * s, 0.34 * s)], side)
        frill += flipped([(-0.55 * s, 0.5 * s)], side)
        canvas.shape(spline(frill, closed=True), WHITE, dark=PAPER_SHADE, shadow=4)
    _ribbon_bow(canvas, 0, 0.22 * s, 0.3 * s, RED)


def _scarf_coat(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    canvas.line([(0, 0.4 * s), (0, build.hem_y)], 4)
    for y in (0.8, 1.15, 1.5):
        canvas.shape(ellipse(0.22 * s, y * s, 0.09 * s, 0.09 * s), GOLD, width=3.5, shadow=0)
    tail = [(-0.3 * s, 0.2 * s), (-0.42 * s, 0.7 * s), (-0.36 * s, 1.25 * s)]
    canvas.shape(ribbon(tail, [0.34 * s, 0.36 * s, 0.36 * s]), RED)
    for y in (0.85, 1.08):
        canvas.line([(-0.58 * s, y * s), (-0.22 * s, y * s)], 5)
    wrap = [(-0.62 * s, -4), (-0.3 * s, 0.22 * s), (0.3 * s, 0.22 * s), (0.62 * s, -4)]
    canvas.shape(ribbon(wrap, [0.3 * s, 0.5 * s, 0.5 * s, 0.3 * s]), RED)
    canvas.line([(-0.5 * s, 0.1 * s), (0, 0.26 * s), (0.46 * s, 0.12 * s)], 4)


def _dungarees(canvas: Canvas, build: Build) -> None:
    s, denim = build.shoulder, (84, 128, 196)
    y, w = build.waist_y, build.waist
    for k in range(3):
        high = (0.3 + 0.28 * k) * s
        canvas.line([(-0.9 * s, high), (0, high + 6), (0.9 * s, high)], 5)
    bib = path(
        [(-0.46 * s, 0.5 * s)],
        [(0.46 * s, 0.5 * s)],
        [(0.8 * w, y)],
        [(w + 2, y + 8)],
        [(build.hem, build.hem_y)],
        [(0, build.hem_y + 7), (-build.hem, build.hem_y)],
        [(-w - 2, y + 8)],
        [(-0.8 * w, y)],
        [(-0.46 * s, 0.5 * s)],
    )
    canvas.shape(bib, denim)
    for side in (1, -1):
        strap = flipped([(-0.52 * s, -4), (-0.36 * s, 0.58 * s)], side)
        canvas.shape(ribbon(strap, [0.17 * s, 0.17 * s]), denim, shadow=3)
        canvas.shape(ellipse(-0.36 * s * side, 0.58 * s, 0.09 * s, 0.09 * s), GOLD, shadow=0)
    pocket = path(
        [(-0.26 * s, 0.8 * s)],
        [(0.26 * s, 0.8 * s)],
        [(0.24 * s, 1.1 * s)],
        [(0, 1.22 * s), (-0.24 * s, 1.1 * s)],
        [(-0.26 * s, 0.8 * s)],
    )
    canvas.shape(pocket, denim, shadow=3)


def _sweater(canvas: Canvas, build: Build) -> None:
    s = build.shoulder
    neck = path(
        [(-0.33 * s, -0.24 * s), (0, -0.17 * s), (0.33 * s, -0.24 * s)],
        [(0.42 * s, 0.08 * s)],
        [(0, 0.28 * s), (-0.42 * s, 0.08 * s)],
        [(-0.33 * s, -0.24 * s)],
    )
    canvas.shape(neck, (250, 178, 160))
    for x in (-0.2, 0.0, 0.2):
        canvas.line([(x * s, -0.08 * s), (1.15 * x * s, 0.14 * s)], 3)
    with canvas.pose(0, 0.72 * s):
        canvas.shape(heart_outline(0.32 * s), WHITE, dark=PAPER_SHADE, shadow=4)
    hem = [(-build.waist, build.waist_y), (0, build.waist_y + 6), (build.waist, build.waist_y)]
    canvas.shape(ribbon(hem, [0.2 * s, 0.2 * s]), (250, 178, 160), shadow=3)


GARMENTS = {
    "sailor": Garment(WHITE, WHITE, 0.85, 1.1, (70, 50, 60), _sailor, skirt=(52, 72, 140)),
    "hoodie": Garment((92, 184, 104), (92, 184, 104), 0.9, 1.15, WHITE, _hoodie, leg=(70, 84, 128)),
    "kimono": Garment((214, 54, 72), (214, 54, 72), 0.84, 2.3, (150, 96, 60), _kimono, leg=WHITE),
    "sundress": Garment((255, 214, 92), (255, 214, 92), 0.0, 1.0, (250, 130, 60), _sundress),
    "armour": Garment(
        (92, 104, 140), (178, 194, 214), 0.86, 1.0, (178, 194, 214), _armour, leg=(178, 194, 214)
    ),
    "tee": Garment((72, 170, 226), (72, 170, 226), 0.42, 1.25, RED, _tee, skirt=(72, 92, 150)),
    "maid": Garment((72, 62, 92), (72, 62, 92), 0.45, 1.4, (72, 62, 92), _maid, leg=WHITE),
    "scarf_coat": Garment(
        (190, 136, 88), (190, 136, 88), 0.88, 1.2, (110, 66, 46), _scarf_coat, leg=(84, 70, 84)
    ),
    "dungarees": Garment(
        (255, 244, 226), (255, 244, 226), 0.5, 1.15, RED, _dungarees, leg=(84, 128, 196)
    ),
    "sweater": Garment(
        (250, 178, 160), (250, 178, 160), 0.9, 1.25, (150, 92, 80), _sweater, skirt=(140, 92, 110)
    ),
}


def _bow_on_hair(canvas: Canvas, hair: Colour) -> None:
    with canvas.pose(-58, -106, turn=-24):
        _ribbon_bow(canvas, 0, 0, 48, RED)


def _pins(canvas: Canvas, hair: Colour) -> None:
    for y in (-42, -24):
        bar = ribbon([(54, y - 4), (92, y + 8)], [13, 13])
        canvas.shape(bar, GOLD, width=4, shadow=3)


def _cat_ears(canvas: Canvas, hair: Colour) -> None:
    for side in (1, -1):
        outer = path(
            flipped([(-94, -82), (-100, -134), (-92, -178)], side),
            flipped([(-56, -156), (-30, -122)], side),
            flipped([(-62, -96), (-94, -82)], side),
        )
        canvas.shape(outer, hair)
        inner = path(
            flipped([(-82, -104), (-86, -134), (-82, -152)], side),
            flipped([(-62, -138), (-50, -120)], side),
            flipped([(-82, -104)], side),
        )
        canvas.shape(inner, (255, 176, 186), width=3.5, shadow=0)


def _witch_hat(canvas: Canvas, hair: Colour) -> None:
    cloth = (112, 70, 160)
    cone = path(
        [(-92, -88), (-62, -170), (-18, -236), (46, -262), (96, -226)],
        [(54, -216), (66, -160), (92, -88)],
        [(0, -66), (-92, -88)],
    )
    canvas.shape(cone, cloth)
    canvas.line([(-18, -200), (16, -192), (40, -206)], 4)
    canvas.shape(ribbon([(-88, -100), (0, -82), (88, -100)], [32, 32]), (250, 150, 40))
    canvas.shape(
        path(*([p] for p in [(-20, -104), (20, -104), (20, -68), (-20, -68), (-20, -104)])),
        GOLD,
        shadow=3,
    )
    brim = path(
        [(-88, -88), (0, -68), (88, -88)],
        [(150, -88), (166, -66), (0, -34), (-166, -66)],
        [(-150, -88), (-88, -88)],
    )
    canvas.shape(brim, cloth)


def _flower(canvas: Canvas, hair: Colour) -> None:
    with canvas.pose(70, -74, turn=12):
        leaf = path([(0, 0), (40, 16), (56, 44)], [(16, 36), (0, 0)])
        canvas.shape(leaf, (104, 184, 92), width=4, shadow=3)
        blossom(canvas, 42, (255, 160, 190), GOLD)


def _headphones(canvas: Canvas, hair: Colour) -> None:
    band: list[Point] = [(-112, -6), (-114, -70), (-70, -128), (0, -148)]
    canvas.shape(
        ribbon([*band, *((-x, y) for x, y in reversed(band[:-1]))], [15, 20, 15]),
        (72, 82, 100),
        shadow=4,
    )
    for side in (1, -1):
        canvas.shape(ellipse(-112 * side, 18, 25, 38), (40, 196, 206))
        canvas.shape(ellipse(-118 * side, 18, 11, 20), WHITE, width=3.5, shadow=0)


def _crown(canvas: Canvas, hair: Colour) -> None:
    points: list[Point] = [(-56, -112), (-70, -172), (-34, -144), (0, -188), (34, -144), (70, -172)]
    points += [(56, -112)]
    canvas.shape(path(*([p] for p in points), [(0, -100), (-56, -112)]), GOLD)
    for x, y in ((0, -132), (-36, -124), (36, -124)):
        canvas.shape(ellipse(x, y, 9, 11), RED, width=3.5, shadow=0)


def _beret(canvas: Canvas, hair: Colour) -> None:
    cap = [(-112, -92), (-108, -142), (-30, -174), (60, -164), (118, -112), (96, -76), (0, -96)]
    canvas.line([(2, -168), (8, -190)], 9)
    canvas.shape(spline(cap, closed=True), (202, 60, 92), shadow=10)
    canvas.line([(-90, -104), (0, -122), (92, -94)], 3.5)


def _bunny_ears(canvas: Canvas, hair: Colour) -> None:
    for side in (1, -1):
        with canvas.pose(-44 * side, -124, turn=-10 * side):
            canvas.shape(ellipse(0, -62, 27, 78), WHITE, dark=PAPER_SHADE)
            canvas.shape(ellipse(0, -62, 13, 54), (255, 176, 186), width=3.5, shadow=0)
    band: list[Point] = [(-96, -74), (-62, -116), (0, -134), (62, -116), (96, -74)]
    canvas.shape(ribbon(band, [16, 18, 16]), WHITE, dark=PAPER_SHADE, shadow=4)


Headwear = Callable[[Canvas, Colour], None]
TALL_HEADWEAR = {"witch_hat", "bunny_ears"}
HEADWEAR: dict[str, Headwear | None] = {
    "none": None,
    "bow": _bow_on_hair,
    "pins": _pins,
    "cat_ears": _cat_ears,
    "witch_hat": _witch_hat,
    "flower": _flower,
    "headphones": _headphones,
    "crown": _crown,
    "beret": _beret,
    "bunny_ears": _bunny_ears,
}
