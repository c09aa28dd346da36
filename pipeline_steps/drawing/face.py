"""Faces: the head, its eyes, and what they express. The eyes' shape decides their colour.

Everything is in the head's own units: the face is about 176 wide, from −110 (crown) to 104 (chin).
"""

import random
from dataclasses import dataclass

import numpy as np

from pipeline_steps.drawing.brush import (
    Canvas,
    Colour,
    Outline,
    ellipse,
    flipped,
    mirrored,
    path,
    ribbon,
    spline,
    tint,
)

SKIN: Colour = (255, 226, 204)
SKIN_DARK: Colour = (246, 188, 164)
BLUSH: Colour = (255, 176, 166)
LASH: Colour = (64, 34, 48)
WHITE: Colour = (255, 255, 255)
FRINGE_SHADOW = (2.0, 13.0)

EXPRESSIONS = ("smile", "laugh", "grin", "surprise", "cat", "wink", "pout")
_OPEN = {"laugh", "grin", "surprise"}


@dataclass(frozen=True)
class Eye:
    """A kind of eye: its colour, half width, half height and how far its outer corner rises."""

    colour: Colour
    half_width: float
    half_height: float
    rise: float


EYES = {
    "round": Eye((58, 122, 224), 21, 27, 2),
    "sharp": Eye((214, 70, 66), 24, 21, 9),
    "soft": Eye((150, 92, 206), 22, 24, -6),
    "sparkle": Eye((60, 176, 106), 23, 29, 3),
}


def _face_outline() -> Outline:
    cheek = [(0.0, -112.0), (-64, -98), (-92, -40), (-89, 22), (-74, 66), (-38, 96), (0, 105)]
    return spline(mirrored(cheek), closed=True)


def draw_head(canvas: Canvas, fringe: Outline, *, pointed: bool) -> None:
    """Draw ears and face, with the shadow that the fringe casts on the forehead."""
    for side in (1, -1):
        tip = (-142.0, -18.0) if pointed else (-108.0, 8.0)
        ear = path(
            flipped([(-84, 2), tip], side), flipped([(-110, 34), (-96, 52), (-80, 50)], side)
        )
        canvas.shape(ear, SKIN, dark=SKIN_DARK, shadow=4)
        canvas.line(flipped([(-88, 18), (-98, 20), (-90, 38)], side), 3)
    face = _face_outline()
    canvas.shape(face, SKIN, dark=SKIN_DARK, width=5)
    canvas.paint(np.add(fringe, FRINGE_SHADOW), SKIN_DARK, within=face)
    for side in (1, -1):
        canvas.paint(ellipse(58 * side, 58, 19, 11), BLUSH, within=face)
        for k in range(3):
            x = 48 * side + 9 * k * side
            canvas.line([(x - 3, 63), (x + 3, 52)], 2.5)


def draw_features(canvas: Canvas, rng: random.Random, kind: str, brow: Colour) -> None:
    """Draw eyes, brows, nose and mouth with an expression drawn from ``rng``."""
    mood = rng.choice(EXPRESSIONS)
    happy = mood == "laugh" and rng.random() < 0.5
    look = rng.uniform(-4, 4)
    for side in (1, -1):
        with canvas.pose(-41 * side, 27, flip=side < 0):
            if happy or (mood == "wink" and side < 0):
                _closed_eye(canvas, EYES[kind])
            else:
                _open_eye(canvas, EYES[kind], look * side, wide=mood == "surprise")
            _brow(canvas, rng, mood, brow)
    canvas.line([(1, 54), (-3, 60), (2, 62)], 3.5)
    _mouth(canvas, mood)


def _open_eye(canvas: Canvas, eye: Eye, look: float, *, wide: bool) -> None:
    w, h, rise = eye.half_width, eye.half_height * (1.08 if wide else 1), eye.rise
    white = path(
        [(-w, 2 - rise), (-0.62 * w, -0.78 * h - 0.5 * rise), (0.1 * w, -h), (0.95 * w, -0.2 * h)],
        [(0.8 * w, 0.6 * h), (0.1 * w, h), (-0.7 * w, 0.72 * h), (-w, 2 - rise)],
    )
    canvas.shape(white, WHITE, width=2.5, shadow=0)
    iris = ellipse(look, 0, 0.74 * w, 0.9 * h)
    canvas.shape(iris, eye.colour, width=3, shadow=0)
    lower = ellipse(look, 0.62 * h, 0.62 * w, 0.42 * h)
    canvas.paint(lower, tint(eye.colour, 0.45), within=iris)
    canvas.solid(ellipse(look, -0.06 * h, 0.36 * w, 0.5 * h), (34, 20, 44))
    canvas.shape(ellipse(look - 0.3 * w, -0.42 * h, 0.26 * w, 0.25 * h), WHITE, width=0, shadow=0)
    canvas.shape(ellipse(look + 0.3 * w, 0.4 * h, 0.14 * w, 0.13 * h), WHITE, width=0, shadow=0)
    lash = [(-1.2 * w, -2 - 1.3 * rise), (-0.98 * w, -0.3 * h - rise)]
    lash += [(-0.55 * w, -0.88 * h - 0.6 * rise), (0.15 * w, -1.06 * h), (1.02 * w, -0.22 * h)]
    canvas.solid(ribbon(lash, [2, 10, 10, 8, 2]), LASH)
    canvas.solid(ribbon([(-0.95 * w, -0.2 * h - rise), (-1.38 * w, -0.5 * h - rise)], [7, 1]), LASH)
    canvas.line([(-0.62 * w, 0.82 * h), (0, 1.03 * h), (0.5 * w, 0.9 * h)], 3)


def _closed_eye(canvas: Canvas, eye: Eye) -> None:
    w = eye.half_width
    canvas.solid(ribbon([(-w, 8), (-0.5 * w, -6), (0.2 * w, -8), (w, 8)], [3, 8, 8, 3]), LASH)
    canvas.line([(-0.8 * w, 4), (-1.3 * w, 0)], 4)


def _brow(canvas: Canvas, rng: random.Random, mood: str, brow: Colour) -> None:
    lift = {"surprise": -8.0, "pout": 2.0}.get(mood, rng.uniform(-4, 0))
    slant = {"pout": 7.0, "grin": 4.0}.get(mood, rng.uniform(-5, 0))
    arc = [(-22.0, -38 + lift - slant / 2), (-4.0, -46 + lift), (18.0, -39 + lift + slant)]
    canvas.line(arc, 5)


def _mouth(canvas: Canvas, mood: str) -> None:
    inside, tongue = (196, 62, 72), (250, 138, 140)
    if mood in _OPEN:
        width, depth = {"laugh": (22, 26), "grin": (19, 17), "surprise": (9, 16)}[mood]
        top = 71 if mood != "surprise" else 69
        if mood == "surprise":
            mouth = ellipse(0, top + 8, width, depth * 0.75)
        else:
            mouth = path(
                [(-width, top), (0, top + 3), (width, top)],
                [
                    (width * 0.6, top + depth * 0.8),
                    (0, top + depth),
                    (-width * 0.6, top + depth * 0.8),
                ],
                [(-width, top)],
            )
        canvas.shape(mouth, inside, width=4, shadow=0)
        canvas.paint(ellipse(0, top + depth, width * 0.7, depth * 0.45), tongue, within=mouth)
        if mood == "grin":
            canvas.shape(path([(8, 73)], [(11, 81)], [(15, 73)]), WHITE, width=2.5, shadow=0)
    elif mood == "cat":
        canvas.line([(-18, 74), (-10, 81), (0, 74)], 4.5)
        canvas.line([(0, 74), (10, 81), (18, 74)], 4.5)
    elif mood == "pout":
        canvas.line([(-10, 80), (0, 76), (10, 80)], 4.5)
    else:
        canvas.line([(-20, 74), (0, 83), (20, 74)], 4.5)


def draw_glasses(canvas: Canvas) -> None:
    """Draw a pair of round glasses over the eyes."""
    for side in (1, -1):
        rim = ellipse(-43 * side, 30, 36, 35)
        canvas.line([*rim.tolist(), *rim[:2].tolist()], 5)
        canvas.line(flipped([(-79, 26), (-98, 20)], side), 5)
    canvas.line([(-8, 26), (0, 22), (8, 26)], 5)
