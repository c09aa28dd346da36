"""Drawing on two layers at once: the colours, and the lines that bound them.

Coordinates are in pixels of a 512×512 picture, or in a character's own units where the canvas has
a pose. A nearer shape hides the lines of what is behind it on both layers, so the sketch is at
every pixel the outline of the coloured picture.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageOps

SIDE = 512
OVERSAMPLING = 2
INK_GREY = 28
INK_TINT = (46, 22, 44)
LIGHT = np.array([-0.6, -0.8])
WHITE = 255
SHARP_TURN = math.cos(math.radians(25))

Colour = tuple[int, int, int]
Point = tuple[float, float]
Outline = NDArray[np.float64]
"""N×2: x and y of each point."""

# Catmull-Rom: rows are powers of t, columns the four control points.
_BASIS = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=float)


def spline(points: Sequence[Point] | Outline, *, closed: bool = False) -> Outline:
    """Return a smooth curve through ``points``, sampled finely enough for a 512 px picture."""
    knots = np.asarray(points, dtype=float)
    if len(knots) < 3 and not closed:
        return knots
    if closed:
        knots = np.vstack([knots[-1], knots, knots[:2]])
    else:
        knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    longest = float(np.abs(np.diff(knots, axis=0)).max())
    steps = int(min(14, max(4, longest / 6)))
    t = np.arange(steps) / steps
    powers = np.stack([np.ones_like(t), t, t**2, t**3], axis=1)
    windows = np.stack([knots[i : len(knots) - 3 + i] for i in range(4)], axis=1)
    sampled = np.einsum("tp,pk,wkc->wtc", powers, _BASIS, windows).reshape(-1, 2)
    return sampled if closed else np.vstack([sampled, knots[-2]])


def path(*curves: Sequence[Point]) -> Outline:
    """Return an outline of smooth curves that meet in corners.

    Each curve begins where the one before ended, so only the first names its beginning.
    """
    pieces = [spline(curves[0])]
    for curve in curves[1:]:
        start = pieces[-1][-1]
        pieces.append(spline(np.vstack([start, np.asarray(curve, dtype=float)]))[1:])
    return np.vstack(pieces)


def bow(start: Point, end: Point, bulge: float) -> list[Point]:
    """Return middle and end of an arc; ``bulge``: its rise, to the right of the direction."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    middle = (start[0] + dx / 2 - bulge * dy / length, start[1] + dy / 2 + bulge * dx / length)
    return [middle, end]


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Outline:
    """Return an ellipse about (x, y), turned by ``tilt`` degrees."""
    t = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    turn = math.radians(tilt)
    u, v = rx * np.cos(t), ry * np.sin(t)
    return np.stack(
        [
            x + u * math.cos(turn) - v * math.sin(turn),
            y + u * math.sin(turn) + v * math.cos(turn),
        ],
        axis=1,
    )


def mirrored(left: Sequence[Point]) -> list[Point]:
    """Return ``left`` followed by its mirror image, in reverse: a symmetric outline."""
    return [*left, *((-x, y) for x, y in reversed(left) if x)]


def flipped(points: Sequence[Point], side: int) -> list[Point]:
    """Return ``points`` on the left (``side`` 1) or mirrored to the right (−1)."""
    return [(side * x, y) for x, y in points]


def ribbon(
    spine: Sequence[Point], widths: Sequence[float], *, round_start: bool = False
) -> Outline:
    """Return the outline of a band along a smooth spine, its full widths evenly interpolated."""
    line = spline(spine)
    if len(line) == 2:
        line = np.linspace(line[0], line[1], 8)
    half = _interpolated(widths, len(line))[:, None] / 2
    normal = _normals(line)
    left = _unfolded(line + normal * half, line, half)
    right = _unfolded(line - normal * half, line, half)
    sides = [left, right[::-1]]
    if round_start:
        t = np.linspace(0, math.pi, 9)[1:-1, None]
        across, back = normal[0] * half[0], np.array([-normal[0, 1], normal[0, 0]]) * half[0]
        sides.append(line[0] - across * np.cos(t) + back * np.sin(t))
    return np.vstack(sides)


def _unfolded(side: Outline, spine: Outline, half: Outline) -> Outline:
    """Drop the points of an offset curve that a sharp bend of its spine has folded inwards."""
    away = np.hypot(*np.moveaxis(side[:, None] - spine[None], 2, 0))
    kept = (away >= 0.93 * half.T).all(axis=1)
    kept[[0, -1]] = True
    outer: Outline = side[kept]
    return outer


def shade(colour: Colour) -> Colour:
    """Return the colour in shadow: darker, and a little nearer to violet."""
    return int(colour[0] * 0.80), int(colour[1] * 0.74), int(colour[2] * 0.85)


def tint(colour: Colour, amount: float = 0.5) -> Colour:
    """Return the colour moved towards white by ``amount``, 0 to 1."""
    r, g, b = (int(c + (255 - c) * amount) for c in colour)
    return r, g, b


class Canvas:
    """A square picture and its sketch, drawn together from far to near."""

    def __init__(self, ground: Colour) -> None:
        side = SIDE * OVERSAMPLING
        self._colour = Image.new("RGB", (side, side), ground)
        self._lines = Image.new("L", (side, side), WHITE)
        self._colour_pen = ImageDraw.Draw(self._colour)
        self._line_pen = ImageDraw.Draw(self._lines)
        self._linear = np.eye(2) * OVERSAMPLING
        self._origin = np.zeros(2)

    @contextmanager
    def pose(
        self, x: float, y: float, *, turn: float = 0, scale: float = 1, flip: bool = False
    ) -> Iterator[None]:
        """Draw in units of ``scale`` about (x, y), turned by ``turn`` degrees, within the block."""
        before = self._linear, self._origin
        angle = math.radians(turn)
        cos, sin = math.cos(angle), math.sin(angle)
        local = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
        self._origin = self._origin + self._linear @ np.array([x, y])
        self._linear = self._linear @ local
        try:
            yield
        finally:
            self._linear, self._origin = before

    def shape(
        self,
        outline: Outline,
        fill: Colour,
        *,
        width: float = 4.5,
        shadow: float = 7,
        dark: Colour | None = None,
    ) -> None:
        """Fill a closed outline, hide what is behind it and stroke its border.

        ``width`` is the stroke's greatest width in pixels, 0 for none. ``shadow`` is the depth in
        pixels of the shaded rim on the side away from the light; its colour is ``dark``.
        """
        pixels = self._pixels(outline)
        flat = pixels.ravel().tolist()
        self._colour_pen.polygon(flat, fill=fill)
        if shadow:
            self._rim(pixels, shadow * OVERSAMPLING, dark or shade(fill))
        self._line_pen.polygon(flat, fill=WHITE)
        if width:
            self._stroke(np.vstack([pixels, pixels[:1]]), self._lit_widths(pixels, width), INK_GREY)

    def paint(self, outline: Outline, fill: Colour, within: Outline) -> None:
        """Colour the part of ``outline`` that lies in ``within``; draw no line."""
        clip, area = self._pixels(within), self._pixels(outline)
        box = self._box(clip)
        if box is None:
            return
        corner = np.array(box[:2])
        size = (box[2] - box[0], box[3] - box[1])
        masks = []
        for polygon in (clip, area):
            mask = Image.new("L", size)
            ImageDraw.Draw(mask).polygon((polygon - corner).ravel().tolist(), fill=255)
            masks.append(mask)
        self._colour.paste(fill, box, ImageChops.darker(*masks))

    def line(
        self, points: Sequence[Point] | Outline, width: float = 3.5, grey: int = INK_GREY
    ) -> None:
        """Draw a stroke through ``points`` that swells to ``width`` pixels and tapers off."""
        pixels = self._pixels(spline(points))
        if len(pixels) == 2:
            pixels = np.linspace(pixels[0], pixels[1], 7)
        t = np.linspace(0, math.pi, len(pixels))
        widths = width * OVERSAMPLING * (0.35 + 0.65 * np.sin(t))
        self._stroke(pixels, widths, grey)

    def solid(self, outline: Outline, fill: Colour, grey: int = INK_GREY) -> None:
        """Fill an outline that is dark in the sketch too: a pupil, a lash, a bow tie's knot."""
        flat = self._pixels(outline).ravel().tolist()
        self._colour_pen.polygon(flat, fill=fill)
        self._line_pen.polygon(flat, fill=grey)

    def finished(self) -> tuple[Image.Image, Image.Image]:
        """Return the 512×512 colour picture (RGB) and its sketch (L)."""
        sketch = self._lines.reduce(OVERSAMPLING)
        colour = self._colour.reduce(OVERSAMPLING)
        ink = ImageOps.colorize(sketch, black=INK_TINT, white=(255, 255, 255))
        return ImageChops.multiply(colour, ink), sketch

    def _pixels(self, outline: Sequence[Point] | Outline) -> Outline:
        points: Outline = np.asarray(outline, dtype=float) @ self._linear.T + self._origin
        return points

    def _box(self, pixels: Outline) -> tuple[int, int, int, int] | None:
        side = SIDE * OVERSAMPLING
        left, top = np.clip(np.floor(pixels.min(axis=0)), 0, side).astype(int).tolist()
        right, bottom = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, side).astype(int).tolist()
        return (left, top, right, bottom) if right > left and bottom > top else None

    def _rim(self, pixels: Outline, depth: float, dark: Colour) -> None:
        box = self._box(pixels)
        if box is None:
            return
        corner = np.array(box[:2])
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        pen = ImageDraw.Draw(mask)
        pen.polygon((pixels - corner).ravel().tolist(), fill=255)
        pen.polygon((pixels - corner + LIGHT * depth).ravel().tolist(), fill=0)
        self._colour.paste(dark, box, mask)

    def _lit_widths(self, pixels: Outline, width: float) -> Outline:
        """Outlines are thin towards the light and thick away from it."""
        line = np.vstack([pixels, pixels[:1]])
        outward = _normals(line) * (1 if _area(pixels) < 0 else -1)
        lit: Outline = 0.78 - 0.22 * (outward @ LIGHT)
        return width * OVERSAMPLING * lit

    def _stroke(self, pixels: Outline, widths: Outline, grey: int) -> None:
        offset = _normals(pixels) * widths[:, None] / 2
        left, right = pixels + offset, pixels - offset
        quads = np.hstack([left[:-1], left[1:], right[1:], right[:-1]]).tolist()
        for quad in quads:
            self._line_pen.polygon(quad, fill=grey)
        for index in _corners(pixels):
            x, y = pixels[index]
            self._line_pen.circle((x, y), widths[index] / 2, fill=grey)


def _normals(line: Outline) -> Outline:
    along = np.gradient(line, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]


def _area(polygon: Outline) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _corners(pixels: Outline) -> list[int]:
    """Indices of the ends and of the sharp turns, which need a round joint."""
    steps = np.diff(pixels, axis=0)
    steps /= np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-9)[:, None]
    turns = (steps[:-1] * steps[1:]).sum(axis=1)
    return [0, *(np.flatnonzero(turns < SHARP_TURN) + 1).tolist(), len(pixels) - 1]


def _interpolated(values: Sequence[float], count: int) -> Outline:
    t = np.linspace(0, len(values) - 1, count)
    between: Outline = np.interp(t, np.arange(len(values)), np.asarray(values, dtype=float))
    return between
