"""Upscaling colours to the sketch's size without crossing its lines.

The generator has one size. Larger sketches are coloured at that size, and the colours are enlarged
by factors of two. A pixel of a smaller size counts as ink if any of the sketch's pixels in it is
ink, so lines of any width are closed at each size. Pixels without ink pass their colour on; where a
smaller size had ink, colours flow in from the neighbours on the same side of the line (normalized
convolution, Knutsson and Westin 1993, with diffusion that ink stops), and follow narrow passages.
Only a closed region that is too thin for the generator keeps the mixed colour that it has there.
The caller multiplies the sketch's own lines over the colours at full resolution.

Shape legend: H×W pixels, C = 3 colours.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.pictures.sketch import stretch_levels
from colorizer.pictures.squares import is_strip
from colorizer.pictures.strips import Window, crop_rows, draw_windows, place_windows

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

DIFFUSION_SIDE_PX = 1024
"""The largest side for diffusion; beyond it only pixels near ink are filled from neighbours."""
NUM_SPREADS = 8
"""Diffusion steps at each size; colours travel about as many pixels."""
FIRST_SPREADS = 24
"""At the smallest size, where most colours beside lines are replaced."""
DARKEST_PAPER = 128
INK_LEVEL, PAPER_LEVEL = 0.70, 0.92
"""Relative to the paper's grey: ink from here down, paper from here up."""
MIN_PASSABLE = 128
"""0..255: from here a pixel counts as paper where it must be one or the other, below as ink."""
INK_CONDUCTANCE = 1e-4
"""Above 0, so that pixels of ink have a colour too: that of the paper beside them."""
BESIDE_INK_WEIGHT = 0.02
"""Of a generator's pixel beside ink: it mixes colours, but less than one that contains ink."""
MIXED_WEIGHT = 1e-4
"""Of the generator's colours at ink, which mix the regions on both sides."""
NO_WEIGHT = np.float32(1e-20)
"""With less, no colour has arrived, and dividing by it would give noise."""
KNOWN_WEIGHT = 0.01
"""Paper with less takes the colour of the nearest with more, if ink doesn't separate them."""
NUM_FILLS, NUM_INK_FILLS = 6, 2
"""Pixels that colours travel at sizes beyond that: along the paper, then into the ink."""
DIFFUSION_RATE = np.float32(0.24)
"""Of a difference that passes in a step: with a quarter or more, values would oscillate."""
BAND_ROWS = 256
MIN_STRIP_ROWS, STRIP_OVERLAP = 1024, 0.25
"""A strip is enlarged in windows that are as long as wide, but of so many rows at least."""


def spread_colours(colour: UInt8Array, lines: Image.Image) -> Image.Image:
    """The generator's h×w×3 ``uint8`` picture → RGB without lines, of the size of ``lines``.

    ``lines``: the sketch in grey (mode L), of the same aspect. Raises :class:`ValueError` for
    another mode.
    """
    if lines.mode != "L":
        raise ValueError(f"need lines of mode L, got {lines.mode}")
    lines = _on_white(lines)
    return _spread_strip(colour, lines) if is_strip(lines.size) else _spread(colour, lines)


def _spread_strip(colour: UInt8Array, lines: Image.Image) -> Image.Image:
    """As :func:`_spread` does, in windows: in the whole, only thin bands beside ink would be."""
    short, long = sorted(lines.size)
    small = Image.fromarray(colour)
    small_long = max(small.size)
    window = min(long, max(short, MIN_STRIP_ROWS))
    small_window = max(1, round(window * small_long / long))
    # what is placed in one scale is drawn in the other
    windows = place_windows(small_long, small_window, long, window, STRIP_OVERLAP)

    def draw(its: Window) -> Image.Image:
        part = crop_rows(small, its.start, its.length)
        return _spread(np.asarray(part), crop_rows(lines, its.drawn_start, window))

    return draw_windows(lines.size, windows, draw)


def _spread(colour: UInt8Array, lines: Image.Image) -> Image.Image:
    levels = _halvings(_passable(lines), max(colour.shape[:2]))
    num_dense = sum(max(level.shape) <= DIFFUSION_SIDE_PX for level in levels) or 1
    dense, sparse = levels[:num_dense], levels[num_dense:]
    mixed = _enlarge_to(_fill_lines(colour, lines), dense[0].shape, lines.size, len(levels) - 1)
    planes, weight = _first_colours(mixed, dense[0])
    for coarse, fine in pairwise(dense):
        mixed = _doubled(mixed, fine.shape)
        planes, weight = _refine(planes, weight, mixed, coarse, fine)
    picture = Image.fromarray(np.moveaxis(planes, 0, -1).round().clip(0, 255).astype(np.uint8))
    for coarse, fine in pairwise([dense[-1], *sparse]):
        picture = _double_picture(picture, coarse, fine)
    return picture


def _on_white(lines: Image.Image) -> Image.Image:
    """Paper, the median of the sketch, becomes white, and ink brighter in proportion."""
    cumulated = np.array(lines.histogram()).cumsum()
    paper = max(DARKEST_PAPER, int(np.searchsorted(cumulated, cumulated[-1] / 2)))
    return lines.point([min(255, round(255 * level / paper)) for level in range(256)])


def _passable(lines: Image.Image) -> UInt8Array:
    """H×W: 255 on paper, 0 on ink."""
    return np.asarray(stretch_levels(lines, INK_LEVEL, PAPER_LEVEL))


def _share(passable: UInt8Array) -> Float32Array:
    return passable.astype(np.float32) / np.float32(255)


def _halvings(passable: UInt8Array, least_side: int) -> list[UInt8Array]:
    """The array and its halves, while at least ``least_side`` px a side; the smallest first.

    A pixel takes the least value of its four: no line gets a gap.
    """
    levels = [passable]
    while (max(levels[0].shape) + 1) // 2 >= least_side:
        level = levels[0]
        if level.shape[0] % 2 or level.shape[1] % 2:
            level = np.pad(level, [(0, side % 2) for side in level.shape], mode="edge")
        rows = np.minimum(level[::2], level[1::2])
        levels.insert(0, np.minimum(rows[:, ::2], rows[:, 1::2]))
    return levels


def _fill_lines(colour: UInt8Array, lines: Image.Image) -> Float32Array:
    """Replace the ink in a coloured picture by the colours nearby: h×w×3 → 3×h×w float32."""
    size = (colour.shape[1], colour.shape[0])
    small = lines if lines.size == size else lines.resize(size, Image.Resampling.BOX, None, 2.0)
    own = np.maximum(np.asarray(small, np.float32) / 255, np.float32(0.3)) ** 8
    values = np.moveaxis(colour.astype(np.float32), -1, 0)
    painted = np.concatenate([values * own, own[None]])
    for _ in range(FIRST_SPREADS):
        painted = _blur(painted)
    filled: Float32Array = painted[:-1] / painted[-1:]
    filled += own * (values - filled)
    return filled


def _enlarge_to(
    planes: Float32Array, shape: tuple[int, int], size: tuple[int, int], num_halvings: int
) -> Float32Array:
    """The generator's planes → the smallest level, which may reach beyond the sketch's border."""
    height, width = planes.shape[1:]
    padded = np.pad(planes, ((0, 0), (0, 2), (0, 2)), mode="edge")
    reach = [side * 2**num_halvings / full for side, full in zip(shape[::-1], size, strict=True)]
    box = (0, 0, min(width + 2, width * reach[0]), min(height + 2, height * reach[1]))
    how = Image.Resampling.HAMMING if shape[0] < height else Image.Resampling.BILINEAR
    resized = [Image.fromarray(plane).resize(shape[::-1], how, box) for plane in padded]
    return np.stack([np.asarray(plane) for plane in resized])


def _first_colours(mixed: Float32Array, passable: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Colours of the smallest level, 3×H×W, and how far they can be trusted, H×W in 0..1."""
    paper = _share(passable)
    trusted = _least_nearby(paper) + np.float32(BESIDE_INK_WEIGHT) * paper
    trusted += np.float32(MIXED_WEIGHT)
    return _flow(mixed, trusted, paper, mixed, FIRST_SPREADS)


def _refine(
    planes: Float32Array,
    weight: Float32Array,
    mixed: Float32Array,
    coarse: UInt8Array,
    fine: UInt8Array,
) -> tuple[Float32Array, Float32Array]:
    """Colours and their weights of one level → the next, twice as large."""
    enlarged = _doubled(planes, fine.shape)
    beside = _near_ink(coarse, fine.shape)
    nearest = _repeated(planes, fine.shape)
    np.copyto(enlarged, nearest, where=beside)
    trusted = _repeated(weight * _share(coarse), fine.shape)
    values = enlarged * trusted + mixed * np.float32(MIXED_WEIGHT)
    trusted += np.float32(MIXED_WEIGHT)
    values /= trusted
    return _flow(values, trusted, _share(fine), enlarged, NUM_SPREADS)


def _flow(
    values: Float32Array,
    trusted: Float32Array,
    paper: Float32Array,
    otherwise: Float32Array,
    num_steps: int,
) -> tuple[Float32Array, Float32Array]:
    """Diffuse values by their weights along the paper; ``otherwise`` where there are none."""
    weights = trusted * np.maximum(paper, np.float32(INK_CONDUCTANCE**2))
    painted = np.concatenate([values * weights, weights[None]])
    diffuse(painted, np.maximum(paper, np.float32(INK_CONDUCTANCE)), num_steps)
    weight = painted[-1]
    found = painted[:-1] / np.maximum(weight, NO_WEIGHT)
    np.copyto(found, otherwise, where=weight < NO_WEIGHT)
    is_known = weight >= KNOWN_WEIGHT
    _fill(np.moveaxis(found, 0, -1), is_known, paper >= 0.5, max(paper.shape))
    np.copyto(weight, np.float32(KNOWN_WEIGHT), where=is_known & (weight < KNOWN_WEIGHT))
    return found, np.minimum(weight, np.float32(1))


def _double_picture(picture: Image.Image, coarse: UInt8Array, fine: UInt8Array) -> Image.Image:
    """An RGB picture of twice the size; colours stay on their side of the ink. In bands."""
    height, width = fine.shape
    result = Image.new("RGB", (width, height))
    whole = np.asarray(picture)
    halo = NUM_FILLS + NUM_INK_FILLS
    for top in range(0, height, BAND_ROWS):
        bottom = min(top + BAND_ROWS, height)
        # even, so that they lie on rows of the coarse level
        first, last = max(0, top - halo), min(height + height % 2, bottom + halo)
        rows = slice(first // 2, last // 2)
        # one more row on each side for interpolation
        above, below = max(0, rows.start - 1), min(len(whole), rows.stop + 1)
        box = (0, rows.start - above, picture.width, rows.stop - above)
        size = (2 * picture.width, last - first)
        smooth = Image.fromarray(whole[above:below]).resize(size, Image.Resampling.BILINEAR, box)
        part = np.array(smooth)[: height - first, :width]
        beside = _near_ink(coarse[above:below], (2 * (below - above), width))
        offset = 2 * (rows.start - above)
        _fill_beside_ink(
            part, whole[rows], beside[offset : offset + len(part)], coarse[rows], fine[first:last]
        )
        result.paste(Image.fromarray(part[top - first : bottom - first]), (0, top))
    return result


def _fill_beside_ink(
    part: UInt8Array, whole: UInt8Array, beside: BoolArray, coarse: UInt8Array, fine: UInt8Array
) -> None:
    """Replace the interpolated colours of H×W×3 near ink, in place."""
    is_known = _repeated(coarse >= MIN_PASSABLE, part.shape[:2])
    y, x = np.nonzero(beside & is_known)
    part[y, x] = whole[y // 2, x // 2]
    is_paper = fine >= MIN_PASSABLE
    _fill(part, is_known, is_paper, NUM_FILLS)
    _fill(part, is_known, ~is_paper, NUM_INK_FILLS)


def _fill(
    values: npt.NDArray[Any], is_known: BoolArray, allowed: BoolArray, num_steps: int
) -> None:
    """Spread H×W×C from known pixels to allowed ones, one pixel a step; both in place.

    A pixel takes the mean of its neighbours that were known before the step.
    """
    height, width = is_known.shape
    reached = np.zeros_like(is_known)
    reached[1:] |= is_known[:-1]
    reached[:-1] |= is_known[1:]
    reached[:, 1:] |= is_known[:, :-1]
    reached[:, :-1] |= is_known[:, 1:]
    y, x = np.nonzero(reached & ~is_known & allowed)
    for _ in range(num_steps):
        if not y.size:
            break
        total = np.zeros((y.size, values.shape[-1]), np.float32)
        count = np.zeros((y.size, 1), np.float32)
        neighbours = [
            ((y + down).clip(0, height - 1), (x + right).clip(0, width - 1))
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
        ]
        for place in neighbours:
            share = is_known[place][:, None]
            total += values[place] * share
            count += share
        mean = total / count
        values[y, x] = mean.round() if values.dtype == np.uint8 else mean
        is_known[y, x] = True
        is_next = [~is_known[place] & allowed[place] for place in neighbours]
        flat = [
            rows[chosen] * width + columns[chosen]
            for (rows, columns), chosen in zip(neighbours, is_next, strict=True)
        ]
        y, x = np.divmod(np.unique(np.concatenate(flat)), width)


def _near_ink(passable: UInt8Array, shape: tuple[int, ...]) -> BoolArray:
    """Which pixels of a level of twice the size, H×W, an interpolation mixes with ink."""
    ink = np.pad(passable < MIN_PASSABLE, 1, mode="edge")
    rows = np.empty((2 * passable.shape[0], ink.shape[1]), np.bool_)
    rows[::2], rows[1::2] = ink[:-2] | ink[1:-1], ink[1:-1] | ink[2:]
    near = np.empty((rows.shape[0], 2 * passable.shape[1]), np.bool_)
    near[:, ::2], near[:, 1::2] = rows[:, :-2] | rows[:, 1:-1], rows[:, 1:-1] | rows[:, 2:]
    return near[: shape[0], : shape[1]]


def _doubled(planes: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """C×h×w → C×H×W of twice the size, interpolated."""
    size = (2 * planes.shape[2], 2 * planes.shape[1])
    enlarged = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in planes]
    return np.stack([np.asarray(plane)[: shape[0], : shape[1]] for plane in enlarged])


def _repeated(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """…×h×w → …×H×W of twice the size, each value four times."""
    return values.repeat(2, axis=-2).repeat(2, axis=-1)[..., : shape[0], : shape[1]]


def _least_nearby(values: Float32Array) -> Float32Array:
    """The least of each pixel and its eight neighbours."""
    padded = np.pad(values, 1, mode="edge")
    rows = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    return np.minimum(np.minimum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def diffuse(planes: Float32Array, conductance: Float32Array, num_steps: int) -> None:
    """Diffuse every plane of C×H×W, in place.

    ``conductance``: H×W in 0..1, 1 on paper; a value passes between two pixels as far as the
    lesser of theirs lets it.
    """
    across = np.minimum(conductance[:, 1:], conductance[:, :-1]) * DIFFUSION_RATE
    down = np.minimum(conductance[1:], conductance[:-1]) * DIFFUSION_RATE
    # reused in each step: allocating costs more than the arithmetic
    flow_x, flow_y = np.empty_like(across), np.empty_like(down)
    for plane in planes:
        for _ in range(num_steps):
            np.subtract(plane[:, 1:], plane[:, :-1], out=flow_x)
            np.subtract(plane[1:], plane[:-1], out=flow_y)
            flow_x *= across
            flow_y *= down
            plane[:, :-1] += flow_x
            plane[:, 1:] -= flow_x
            plane[:-1] += flow_y
            plane[1:] -= flow_y


def _blur(planes: Float32Array) -> Float32Array:
    """Convolve C×H×W with 1 2 1 in both directions; the border is repeated."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    for axis in (1, 2):
        swapped = np.swapaxes(planes, 0, axis)
        before = np.concatenate([swapped[:1], swapped[:-1]])
        after = np.concatenate([swapped[1:], swapped[-1:]])
        planes = np.swapaxes(half * swapped + quarter * (before + after), 0, axis)
    return planes
