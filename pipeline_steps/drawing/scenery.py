"""Backgrounds: a ground whose colour follows from the motif that repeats all over it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from pipeline_steps.drawing.brush import SIDE, Canvas, Colour, Outline, Point, ellipse, path, spline

SPACING = 92

Motif = Callable[[Canvas, random.Random, Colour], None]


@dataclass(frozen=True)
class Scene:
    """A background: its ground, what is strewn on it, and that motif's colour."""

    ground: Colour
    motif: Motif | None = None
    colour: Colour = (255, 255, 255)


def star_outline(radius: float, points: int = 5, inner: float = 0.48) -> Outline:
    """Return a star about the origin, one point upwards."""
    corners = []
    for k in range(2 * points):
        r = radius if k % 2 == 0 else radius * inner
        angle = math.pi * k / points
        corners.append([(r * math.sin(angle), -r * math.cos(angle))])
    return path(*corners, corners[0])


def heart_outline(radius: float) -> Outline:
    """Return a heart about the origin."""
    r = radius
    right = [(0, -0.45 * r), (0.45 * r, -0.9 * r), (0.98 * r, -0.5 * r), (0.7 * r, 0.25 * r)]
    left = [(-0.7 * r, 0.25 * r), (-0.98 * r, -0.5 * r), (-0.45 * r, -0.9 * r), (0, -0.45 * r)]
    return path([*right, (0, 0.95 * r)], left)


def leaf_outline(radius: float) -> Outline:
    """Return a pointed leaf about the origin, its tip upwards."""
    r = radius
    return path(
        [(0, -r), (0.5 * r, -0.35 * r), (0.48 * r, 0.3 * r), (0, r)],
        [(-0.48 * r, 0.3 * r), (-0.5 * r, -0.35 * r), (0, -r)],
    )


def cloud_outline(radius: float) -> Outline:
    """Return a cloud about the origin, flat below."""
    r = radius
    return path(
        [(-0.9 * r, 0.45 * r), (-1.2 * r, 0.2 * r), (-0.95 * r, -0.1 * r), (-0.65 * r, -0.08 * r)],
        [(-0.6 * r, -0.5 * r), (-0.1 * r, -0.7 * r), (0.3 * r, -0.35 * r)],
        [(0.65 * r, -0.5 * r), (0.95 * r, -0.2 * r), (0.85 * r, 0.02 * r)],
        [(1.25 * r, 0.1 * r), (1.2 * r, 0.42 * r), (0.9 * r, 0.45 * r)],
        [(-0.9 * r, 0.45 * r)],
    )


def _star_or_moon(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    if rng.random() < 0.25:
        moon = path(
            [(8, -28), (-20, -18), (-24, 10), (-2, 28), (22, 18)], [(0, 12), (-6, -8), (8, -28)]
        )
        canvas.shape(moon, colour, width=4, shadow=0)
    else:
        canvas.shape(star_outline(rng.uniform(20, 30)), colour, width=4, shadow=0)


def _heart(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    canvas.shape(heart_outline(rng.uniform(20, 29)), colour, width=4, shadow=3)


def _cloud(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    canvas.shape(
        cloud_outline(rng.uniform(26, 34)), colour, width=4, shadow=4, dark=(214, 232, 248)
    )


def _leaf(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    radius = rng.uniform(26, 34)
    canvas.shape(leaf_outline(radius), colour, width=4, shadow=4)
    canvas.line([(0, -0.6 * radius), (0, 1.35 * radius)], 3.5)


def _note(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    flag: list[Point] = [(20, -26), (28, -10), (22, 2)]
    back: list[Point] = [(20, -10), (13, -16)]
    canvas.solid(path([(8, 18)], [(8, -34)], flag, back, [(13, 18)], [(8, 18)]), (60, 44, 110))
    canvas.shape(ellipse(-3, 20, 16, 12, -20), colour, width=4, shadow=3)


def _bubble(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    radius = rng.uniform(18, 32)
    canvas.shape(ellipse(0, 0, radius, radius), colour, width=3.5, shadow=4, dark=(150, 220, 226))
    shine = [(-0.55 * radius, 0), (-0.45 * radius, -0.4 * radius), (0, -0.6 * radius)]
    canvas.line(shine, 3)


def _strew(canvas: Canvas, rng: random.Random, scene: Scene, upright: bool) -> None:
    if scene.motif is None:
        return
    rows = SIDE // SPACING + 2
    for row in range(rows):
        for column in range(rows):
            x = (column + 0.5 * (row % 2) - 0.3) * SPACING + rng.uniform(-13, 13)
            y = (row - 0.1) * SPACING + rng.uniform(-13, 13)
            turn = 0 if upright else rng.uniform(-35, 35)
            with canvas.pose(x, y, turn=turn, scale=rng.uniform(0.85, 1.1)):
                scene.motif(canvas, rng, scene.colour)


def _skyline(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    far = (236, 150, 122)
    for base, fill, lift in ((0, far, 150), (190, colour, 0)):
        x = -20.0
        while x < SIDE:
            width = rng.uniform(76, 110)
            top = base + rng.uniform(40, 170) * (1 if lift else 0.8)
            tower = path([(x, SIDE + 9)], [(x, top)], [(x + width, top)], [(x + width, SIDE + 9)])
            canvas.shape(tower, fill, width=4, shadow=0)
            _lights(canvas, x, top, width)
            x += width + rng.uniform(0, 16)


def _lights(canvas: Canvas, x: float, top: float, width: float) -> None:
    columns = int(width // 36)
    gap = width / columns
    for row in range(int((SIDE - top) // 44)):
        for column in range(columns):
            left, upper = x + gap * (column + 0.5) - 9, top + 18 + 44 * row
            pane = path(
                [(left, upper)],
                [(left + 18, upper)],
                [(left + 18, upper + 22)],
                [(left, upper + 22)],
            )
            canvas.shape(pane, (255, 226, 120), width=3, shadow=0)


def _lattice(canvas: Canvas, rng: random.Random, colour: Colour) -> None:
    """A window of many panes: light glass between wooden bars."""
    step = rng.uniform(88, 104)
    shift = rng.uniform(-60, 0), rng.uniform(-60, 0)
    for row in range(8):
        for column in range(8):
            left, top = shift[0] + step * column, shift[1] + step * row
            right, bottom = left + step - 17, top + step - 17
            glass = path([(left, top)], [(right, top)], [(right, bottom)], [(left, bottom)])
            canvas.shape(glass, colour, width=4, shadow=0)
            canvas.line([(left + 14, bottom - 30), (left + 46, top + 24)], 3)


NIGHT = Scene((62, 74, 142), _star_or_moon, (255, 222, 92))
SCENES = {
    "plain": Scene((255, 248, 232)),
    "stars": NIGHT,
    "hearts": Scene((255, 218, 230), _heart, (244, 110, 140)),
    "clouds": Scene((140, 202, 246), _cloud, (255, 255, 255)),
    "leaves": Scene((216, 240, 194), _leaf, (112, 188, 88)),
    "notes": Scene((232, 220, 250), _note, (150, 116, 214)),
    "bubbles": Scene((126, 214, 214), _bubble, (206, 244, 244)),
    "skyline": Scene((255, 204, 158), None, (184, 108, 128)),
    "window": Scene((176, 124, 84), None, (206, 234, 246)),
}
UPRIGHT = {"clouds"}


def draw_background(name: str, rng: random.Random) -> Canvas:
    """Return a canvas that holds the scene of that name (a key of ``SCENES``) and nothing else."""
    scene = SCENES[name]
    canvas = Canvas(scene.ground)
    if name == "skyline":
        _skyline(canvas, rng, scene.colour)
    elif name == "window":
        _lattice(canvas, rng, scene.colour)
    else:
        _strew(canvas, rng, scene, name in UPRIGHT)
    return canvas


def blossom(canvas: Canvas, radius: float, petal: Colour, heart: Colour) -> None:
    """Draw a flower of five petals about the origin."""
    for k in range(5):
        angle = 2 * math.pi * k / 5
        x, y = 0.58 * radius * math.sin(angle), -0.58 * radius * math.cos(angle)
        canvas.shape(ellipse(x, y, 0.46 * radius, 0.46 * radius), petal, width=4, shadow=3)
    canvas.shape(spline(ellipse(0, 0, 0.3 * radius, 0.3 * radius)), heart, width=3.5, shadow=0)
