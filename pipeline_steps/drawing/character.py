"""One character: who it is, how it stands, and everything drawn from far to near."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from pipeline_steps.drawing.brush import (
    SIDE,
    Canvas,
    Colour,
    Outline,
    Point,
    ellipse,
    path,
    ribbon,
    spline,
)
from pipeline_steps.drawing.face import (
    SKIN,
    SKIN_DARK,
    draw_features,
    draw_glasses,
    draw_head,
)
from pipeline_steps.drawing.hair import HAIR_STYLES, draw_front_hair, fringe_outline
from pipeline_steps.drawing.scenery import (
    SCENES,
    blossom,
    draw_background,
    heart_outline,
    star_outline,
)
from pipeline_steps.drawing.wardrobe import (
    GARMENTS,
    GOLD,
    HEADWEAR,
    RED,
    TALL_HEADWEAR,
    WHITE,
    Build,
    Garment,
    draw_garment,
    draw_legs,
)

HAIR_JITTER = 7
"""Levels of 255 by which a channel of the hair may differ from its style's colour: under 3 %."""

BUST = Build(92, 64, 100, 168, 330, 0, 40)
CHIBI = Build(56, 46, 80, 78, 138, 56, 26)

Limb = tuple[Point, Point]
POSES: dict[str, tuple[Limb, Limb]] = {
    "down": (((0.22, 0.95), (0.24, 1.85)), ((0.22, 0.95), (0.24, 1.85))),
    "hip": (((0.95, 0.7), (0.28, 1.35)), ((0.22, 0.95), (0.24, 1.85))),
    "wave": (((0.72, 0.5), (1.0, -0.5)), ((0.22, 0.95), (0.24, 1.85))),
    "cheer": (((0.72, 0.5), (1.0, -0.5)), ((0.72, 0.5), (1.0, -0.5))),
    "together": (((0.3, 0.75), (-0.66, 0.7)), ((0.3, 0.75), (-0.66, 0.7))),
    "hold": (((0.46, 0.78), (-0.36, 0.7)), ((0.46, 0.78), (-0.36, 0.7))),
}
"""Elbow and hand of each arm, outwards and downwards from the shoulder in units of the arm."""


@dataclass(frozen=True)
class Character:
    """Every choice that makes one picture; see :func:`invent`."""

    hair: str
    hair_colour: Colour
    garment: str
    headwear: str
    scene: str
    pose: str
    held: str
    glasses: bool
    pointed_ears: bool
    chibi: bool
    flip: bool
    tilt: float
    """Degrees that the head leans."""
    scale: float
    x: float
    """The head's middle in pixels of the 512×512 picture."""
    y: float


def invent(rng: random.Random) -> Character:
    """Choose a character."""
    hair = rng.choice(sorted(HAIR_STYLES))
    chibi = rng.random() < 0.4
    r, g, b = (
        min(255, max(0, c + rng.randint(-HAIR_JITTER, HAIR_JITTER)))
        for c in HAIR_STYLES[hair].colour
    )
    headwear = rng.choice(sorted(HEADWEAR))
    scale, y = _placed(rng, chibi, headwear in TALL_HEADWEAR)
    return Character(
        hair=hair,
        hair_colour=(r, g, b),
        garment=rng.choice(sorted(GARMENTS)),
        headwear=headwear,
        scene=rng.choice(sorted(SCENES)),
        pose=rng.choice(sorted(POSES)),
        held=rng.choice(sorted(HELD)),
        glasses=rng.random() < 0.15,
        pointed_ears=rng.random() < 0.2,
        chibi=chibi,
        flip=rng.random() < 0.5,
        tilt=rng.uniform(-11, 11),
        scale=scale,
        x=SIDE / 2 + rng.uniform(-26, 26),
        y=y,
    )


def _placed(rng: random.Random, chibi: bool, tall: bool) -> tuple[float, float]:
    """Return a scale and a height of the head that leave room for a hat and, if drawn, for feet."""
    if chibi:
        return (
            (rng.uniform(0.79, 0.84), rng.uniform(224, 232))
            if tall
            else (rng.uniform(0.9, 0.99), rng.uniform(172, 186))
        )
    if tall:
        return rng.uniform(0.96, 1.04), rng.uniform(262, 276)
    return rng.uniform(1.06, 1.24), rng.uniform(192, 220)


def draw_pair(seed: int, index: int) -> tuple[Image.Image, Image.Image]:
    """Return the 512×512 colour picture (RGB) and sketch (L) of character ``index`` of ``seed``."""
    rng = random.Random(f"{seed}/{index}")
    return draw_character(invent(rng), rng)


def draw_character(who: Character, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    """Draw a character; ``rng`` decides what the choices leave open, such as the expression."""
    canvas = draw_background(who.scene, rng)
    style, garment = HAIR_STYLES[who.hair], GARMENTS[who.garment]
    build = CHIBI if who.chibi else BUST
    root = 112.0 if who.chibi else 128.0
    with canvas.pose(who.x, who.y, scale=who.scale, flip=who.flip):
        with canvas.pose(0, 0, turn=who.tilt):
            style.back(canvas, rng, who.hair_colour)
        with canvas.pose(0, root):
            if build.legs:
                draw_legs(canvas, build, garment)
            draw_garment(canvas, build, garment)
            _draw_arms(canvas, build, garment, who)
        with canvas.pose(0, 0, turn=who.tilt):
            draw_head(canvas, fringe_outline(style.fringe), pointed=who.pointed_ears)
            draw_features(canvas, rng, style.eyes, who.hair_colour)
            draw_front_hair(canvas, rng, style, who.hair_colour)
            if who.glasses:
                draw_glasses(canvas)
            headwear = HEADWEAR[who.headwear]
            if headwear is not None:
                headwear(canvas, who.hair_colour)
    return canvas.finished()


def _draw_arms(canvas: Canvas, build: Build, garment: Garment, who: Character) -> None:
    reach = build.limb * 2.35
    shoulder = (0.86 * build.shoulder, 0.16 * build.waist_y + 4)
    hands = []
    for side, (elbow, hand) in zip((1, -1), POSES[who.pose], strict=True):
        joints: list[Point] = [
            (-side * (shoulder[0] + dx * reach), shoulder[1] + dy * reach)
            for dx, dy in ((0.0, 0.0), elbow, hand)
        ]
        _draw_arm(canvas, build, garment, joints)
        hands.append(joints)
    if who.pose == "hold":
        with canvas.pose(0, shoulder[1] + 0.4 * reach, scale=build.limb / 40):
            HELD[who.held](canvas)
    for joints in hands:
        raised = joints[2][1] < joints[0][1]
        _draw_hand(canvas, build, joints[2], raised)


def _draw_arm(canvas: Canvas, build: Build, garment: Garment, joints: list[Point]) -> None:
    spine = spline(joints)
    wide = build.limb
    arm = ribbon(joints, [0.8 * wide, 0.72 * wide, 0.6 * wide], round_start=True)
    canvas.shape(arm, SKIN, dark=SKIN_DARK)
    if garment.sleeve_reach <= 0:
        return
    covered = spine[: max(3, round(garment.sleeve_reach * len(spine)))]
    points: list[Point] = [(float(x), float(y)) for x, y in covered[:: max(1, len(covered) // 4)]]
    points.append((float(covered[-1][0]), float(covered[-1][1])))
    end = wide * (0.35 + 0.65 * garment.sleeve_flare)
    dark = (216, 216, 236) if garment.sleeve == WHITE else None
    sleeve = ribbon(points, [1.05 * wide, wide, end], round_start=True)
    canvas.shape(sleeve, garment.sleeve, dark=dark)


def _draw_hand(canvas: Canvas, build: Build, at: Point, raised: bool) -> None:
    with canvas.pose(*at, scale=build.limb / 40, flip=at[0] > 0):
        if raised:
            canvas.shape(_OPEN_HAND, SKIN, dark=SKIN_DARK, shadow=4)
            canvas.line([(-8, 0), (2, 6), (12, 2)], 3)
        else:
            canvas.shape(ellipse(0, 4, 19, 21), SKIN, dark=SKIN_DARK, shadow=4)
            for x in (-6, 4):
                canvas.line([(x, 10), (x, 24)], 3)


def _open_hand() -> Outline:
    tips: list[Point] = [(-22, -36), (-6, -46), (11, -43), (25, -30), (36, 0)]
    valleys: list[Point] = [(-12, -14), (2, -16), (15, -12), (20, 2)]
    points: list[Point] = [(-14, 20), (-19, 0)]
    for tip, valley in zip(tips, [*valleys, (18, 18)], strict=True):
        points += [(tip[0] - 5, tip[1] + 2), (tip[0] + 5, tip[1] + 3), valley]
    return spline([*points, (0, 26)], closed=True)


_OPEN_HAND = _open_hand()


def _held_star(canvas: Canvas) -> None:
    canvas.shape(star_outline(52), GOLD)


def _held_heart(canvas: Canvas) -> None:
    canvas.shape(heart_outline(48), RED)


def _held_flower(canvas: Canvas) -> None:
    canvas.shape(ribbon([(0, 0), (3, 60)], [8, 8]), (88, 168, 80), width=4, shadow=0)
    with canvas.pose(0, -14):
        blossom(canvas, 48, WHITE, GOLD)


def _held_cup(canvas: Canvas) -> None:
    canvas.line(ellipse(40, 4, 18, 20), 7)
    body = path(
        [(-40, -28), (0, -20), (40, -28)], [(32, 26), (20, 38), (-20, 38), (-32, 26)], [(-40, -28)]
    )
    canvas.shape(body, (124, 212, 214))
    canvas.shape(ellipse(0, -28, 40, 11), (140, 88, 58), width=4, shadow=0)


def _held_cat(canvas: Canvas) -> None:
    fur: Colour = (112, 112, 134)
    canvas.shape(ribbon([(30, 50), (66, 40), (72, 0), (58, -16)], [14, 16, 14, 6]), fur, width=4)
    canvas.shape(ellipse(0, 42, 38, 40), fur)
    head = path(
        [(-42, -2), (-44, -30), (-40, -56)],
        [(-18, -40), (18, -40)],
        [(40, -56)],
        [(44, -30), (42, -2), (0, 22), (-42, -2)],
    )
    canvas.shape(head, fur)
    canvas.shape(ellipse(0, 2, 17, 12), WHITE, width=3, shadow=0)
    for x in (-20, 20):
        canvas.shape(ellipse(x, -14, 9, 11), (250, 220, 90), width=3, shadow=0)
        canvas.solid(ellipse(x, -14, 3.5, 9), (30, 24, 40))
    canvas.solid(ellipse(0, -3, 4, 3), (30, 24, 40))
    canvas.line([(-8, 4), (0, 8), (8, 4)], 3)


HELD: dict[str, Callable[[Canvas], None]] = {
    "star": _held_star,
    "heart": _held_heart,
    "flower": _held_flower,
    "cup": _held_cup,
    "cat": _held_cat,
}
