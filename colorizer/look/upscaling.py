"""Upscaling colours to the sketch's size without crossing its lines.

The generator has one size. Larger sketches are coloured at that size; lines are removed from the
colours, which are then enlarged by factors of two and, at each size, diffuse along the paper but
not through ink (anisotropic diffusion, Perona and Malik 1990). The caller multiplies the sketch's
own lines over them at full resolution.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

WORKING_SIDE_PX = 1024
"""The largest side for diffusion; beyond it colours are interpolated only."""
NUM_SPREADS = 12
"""Diffusion steps at each size; colours travel about as many pixels."""
FILL_SPREADS = 24
INK_CONDUCTANCE = 0.01


def spread_colours(colour: UInt8Array, lines: Image.Image) -> Image.Image:
    """The generator's h×w×3 ``uint8`` picture → RGB without lines, of the size of ``lines``.

    ``lines``: the sketch in grey (mode L), of the same aspect. Raises :class:`ValueError` for
    another mode.
    """
    if lines.mode != "L":
        raise ValueError(f"need lines of mode L, got {lines.mode}")
    height, width = colour.shape[:2]
    small = _resized(lines, (width, height))
    filled = _fill_lines(colour.astype(np.float32), _conductance(small))
    planes = np.ascontiguousarray(np.moveaxis(filled, -1, 0))
    for size in _sizes((width, height), lines.size):
        enlarged = [
            Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in planes
        ]
        planes = np.stack([np.asarray(plane) for plane in enlarged])
        _spread(planes, _conductance(_resized(lines, size)), NUM_SPREADS)
    values = np.moveaxis(planes, 0, -1)
    picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if picture.size == lines.size:
        return picture
    shrinks = picture.width > lines.width
    how = Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC
    return picture.resize(lines.size, how)


def _sizes(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Every doubling up to ``end`` or the working size, whichever is smaller."""
    longest = min(max(end), WORKING_SIDE_PX)
    sizes = []
    side = max(start)
    while side < longest:
        side = min(2 * side, longest)
        scale = side / max(end)
        sizes.append((max(1, round(end[0] * scale)), max(1, round(end[1] * scale))))
    return sizes


def _resized(lines: Image.Image, size: tuple[int, int]) -> Image.Image:
    if lines.size == size:
        return lines
    return lines.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _conductance(lines: Image.Image) -> Float32Array:
    """H×W float32 in 0..1: 1 on paper, nearly 0 on ink."""
    paper = np.asarray(lines, np.float32) / 255
    conductance = INK_CONDUCTANCE + (1 - INK_CONDUCTANCE) * np.square(np.square(paper))
    return conductance.astype(np.float32, copy=False)


def _fill_lines(values: Float32Array, conductance: Float32Array) -> Float32Array:
    """Replace the ink in a coloured picture by the colours nearby."""
    weight = conductance[..., None] ** 2
    painted = values * weight
    for _ in range(FILL_SPREADS):
        painted, weight = _blur(painted), _blur(weight)
    own = conductance[..., None] ** 2
    filled = own * values + (1 - own) * painted / np.maximum(weight, 1e-6)
    return filled.astype(np.float32, copy=False)


def _spread(planes: Float32Array, conductance: Float32Array, num_steps: int) -> None:
    """Diffuse every plane of 3×H×W float32, in place."""
    across = np.minimum(conductance[:, 1:], conductance[:, :-1]) * np.float32(0.24)
    down = np.minimum(conductance[1:], conductance[:-1]) * np.float32(0.24)
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


def _blur(values: Float32Array) -> Float32Array:
    """Convolve with 1 2 1 in both directions; the border is repeated."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    for axis in (0, 1):
        swapped = np.swapaxes(values, 0, axis)
        before = np.concatenate([swapped[:1], swapped[:-1]])
        after = np.concatenate([swapped[1:], swapped[-1:]])
        values = np.swapaxes(half * swapped + quarter * (before + after), 0, axis)
    return values
