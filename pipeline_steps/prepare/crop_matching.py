"""Whether one truth is a crop of another, as it is or mirrored: by looking for it.

First 81 windows of the larger truth are compared with the whole smaller one, coarsely; from the
best of them the exact window is reached by least squares, and the pictures must then agree
everywhere. Truths are squares of ``TRUTH_PX`` px, stretched, so that a crop which was enlarged to
the old size again is nothing new. A window is (left, top, width, height), in shares of the side.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.pictures.squares import place_in_square
from pipeline_steps.pairs.packed import COLOUR, UInt8Array

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

TRUTH_PX = 64
CUTS = (0.0, 0.1, 0.2)
"""What a window may lack at each side at first, in shares of the side."""
MAX_COARSE_RATIO = 0.45
"""Squared difference of the best window over the truths' own variation."""
MAX_ALIGNED_RATIO = 0.16
"""The same for grey, after the first steps of least squares."""
MAX_MEAN_DIFFERENCE = 4.0
"""Mean absolute difference (0..255) of any channel of truths that are the same."""
CELL_PX = 4
LAYOUT_PX = 8
SHRUNK_PX = 32
"""Of the larger truth, in which windows are sought."""
NUM_STEPS = 3
MAX_STEP = 0.1
MAX_CUT = 0.25
DAMPING = 2.5e-4
MIN_VARIANCE = 4.0
"""Of a nearly flat picture, to divide by."""
BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def shrink_truth(packed: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """The colour picture of a packed pair (S×S×4), without its padding: T×T×3, T = ``TRUTH_PX``.

    ``size`` is the picture's width and height in the archive, in pixels.
    """
    colour = np.ascontiguousarray(place_in_square(size, len(packed)).cut(packed[..., COLOUR]))
    shrunk = Image.fromarray(colour).resize((TRUTH_PX, TRUTH_PX), Image.Resampling.BOX)
    return np.asarray(shrunk)


def all_windows() -> Float32Array:
    """The 81 windows that are tried first, as N×4; the whole picture is the first."""
    axis = _axis_windows()
    windows = [(left, top, width, height) for top, height in axis for left, width in axis]
    return np.array(windows, np.float32)


def _axis_windows() -> list[tuple[float, float]]:
    """Start and length of the windows of one axis."""
    return [(low, 1 - low - high) for low in CUTS for high in CUTS]


def window_layouts(truths: UInt8Array) -> Float32Array:
    """N×T×T×3 → N×81×(``LAYOUT_PX``²·3): each window's layout, by averaging."""
    starts, lengths = (np.array(each, np.float32) for each in zip(*_axis_windows(), strict=True))
    axis = _averages(starts, lengths, SHRUNK_PX).reshape(-1, SHRUNK_PX)
    num, num_axis = len(truths), len(starts)
    small = _shrink(truths, SHRUNK_PX)
    rows = axis @ small.transpose(1, 0, 2, 3).reshape(SHRUNK_PX, -1)
    rows = rows.reshape(-1, num, SHRUNK_PX, 3).transpose(2, 1, 0, 3).reshape(SHRUNK_PX, -1)
    both = (axis @ rows).reshape(num_axis, LAYOUT_PX, num, num_axis, LAYOUT_PX, 3)
    # columns' windows and cells first so far; now truth, rows' window, columns' window, cells
    ordered = both.transpose(2, 3, 0, 4, 1, 5)
    return np.ascontiguousarray(ordered.reshape(num, num_axis**2, -1))


def layouts(truths: UInt8Array) -> Float32Array:
    """N×T×T×3 → N×(``LAYOUT_PX``²·3): the whole truths' layouts."""
    return _shrink(truths, LAYOUT_PX).reshape(len(truths), -1)


def coarse_ratios(windows: Float32Array, whole: Float32Array) -> Float32Array:
    """N×W×D layouts of windows, N×K×D of others → N×K×W: difference over variation."""
    product = np.matmul(whole, windows.transpose(0, 2, 1))
    squares = np.square(whole).sum(-1)[..., None] + np.square(windows).sum(-1)[:, None]
    variances = np.minimum(_variances(whole)[..., None], _variances(windows)[:, None])
    num_cells = LAYOUT_PX**2
    ratios: Float32Array = (squares - 2 * product) / np.maximum(variances, MIN_VARIANCE * num_cells)
    return ratios


def are_crops(
    large: UInt8Array, small: UInt8Array, windows: Float32Array, max_difference: float
) -> BoolArray:
    """Whether each ``small`` truth (N×T×T×3) is what a window of its ``large`` one shows.

    ``windows`` (N×4) are where to begin, as :func:`nearby_windows` finds them;
    ``max_difference`` (0..255) is that of any cell of ``CELL_PX``² px.
    """
    grey, small_grey = (_blurred(_grey(each, TRUTH_PX)) for each in (large, small))
    return _agree(large, small, _align(grey, small_grey, windows), max_difference)


def nearby_windows(
    large: UInt8Array, small: Float32Array, windows: Float32Array
) -> tuple[Float32Array, BoolArray]:
    """Improve ``windows`` (N×4) and say which may show what the smaller truths do.

    ``large`` is N×``SHRUNK_PX``² as :func:`shrunk` gives it, ``small`` N×D as :func:`layouts`.
    """
    cells = small.reshape(-1, LAYOUT_PX, LAYOUT_PX, 3).mean(axis=-1)
    grey = large.astype(np.float32)
    reached = _align(grey, cells, windows)
    differences = np.square(cells - _view(grey, reached, LAYOUT_PX)[0]).mean(axis=(1, 2))
    variances = np.minimum(cells.var(axis=(1, 2)), grey.var(axis=(1, 2)))
    return reached, differences / np.maximum(variances, MIN_VARIANCE) <= MAX_ALIGNED_RATIO


def shrunk(truths: UInt8Array) -> UInt8Array:
    """N×T×T×3 → N×``SHRUNK_PX``²: grey, and as blurred as the cells of a layout are large."""
    grey: UInt8Array = np.rint(_blurred(_grey(truths, SHRUNK_PX))).astype(np.uint8)
    return grey


def _overlaps(
    starts: Float32Array, lengths: Float32Array, num_cells: int, num_pixels: int
) -> Float32Array:
    """N windows of one axis → N×cells×pixels: how much of a pixel each cell covers, 0..1."""
    shares = np.arange(num_cells + 1) / num_cells
    edges = (starts[:, None] + lengths[:, None] * shares) * num_pixels
    pixels = np.arange(num_pixels)
    begins, ends = (
        np.maximum(edges[:, :-1, None], pixels),
        np.minimum(edges[:, 1:, None], pixels + 1),
    )
    overlaps: Float32Array = np.maximum(ends - begins, 0).astype(np.float32)
    return overlaps


def _averages(starts: Float32Array, lengths: Float32Array, num_pixels: int) -> Float32Array:
    """N×``LAYOUT_PX``×pixels: averages over the cells of windows of one axis."""
    overlaps = _overlaps(starts, lengths, LAYOUT_PX, num_pixels)
    return overlaps / (lengths * np.float32(num_pixels / LAYOUT_PX))[:, None, None]


def _shrink(truths: UInt8Array, size: int) -> Float32Array:
    num, block = len(truths), truths.shape[1] // size
    # added by slices: NumPy's sum over so short axes takes several times as long
    lines = truths.reshape(num, size, block, -1)
    rows = lines[:, :, 0].astype(np.uint16)
    for line in range(1, block):
        rows += lines[:, :, line]
    columns = rows.reshape(num, size, size, block, 3)
    sums = columns[:, :, :, 0].astype(np.float32)
    for column in range(1, block):
        sums += columns[:, :, :, column]
    return sums / np.float32(block**2)


def _variances(layouts: Float32Array) -> Float32Array:
    """Squared deviations from the mean colour, summed."""
    cells = layouts.reshape(*layouts.shape[:-1], LAYOUT_PX**2, 3)
    mean = cells.mean(axis=-2)
    variances: Float32Array = np.square(layouts).sum(-1) - LAYOUT_PX**2 * np.square(mean).sum(-1)
    return variances


def _grey(truths: UInt8Array, size: int) -> Float32Array:
    """N×T×T×3 → N×size×size, by averaging."""
    red, green, blue = np.moveaxis(_shrink(truths, size), -1, 0)
    grey: Float32Array = (red + green + blue) / np.float32(3)
    return grey


def _blurred(pictures: Float32Array) -> Float32Array:
    """N×T×T, without the finest detail: slopes of thin lines reach further."""
    for axis in (1, 2):
        padded = np.pad(pictures, [(0, 0), *((2 * (each == axis),) * 2 for each in (1, 2))], "edge")
        size = pictures.shape[axis]
        shifted = [np.take(padded, range(start, start + size), axis) for start in range(5)]
        blurred = np.zeros_like(pictures)
        for weight, each in zip(BLUR, shifted, strict=True):
            blurred += np.float32(weight) * each
        pictures = blurred
    return pictures


def _align(large: Float32Array, small: Float32Array, windows: Float32Array) -> Float32Array:
    """Gauss–Newton: the windows (N×4) reached."""
    size = small.shape[1]
    centre = ((np.arange(size) + 0.5) / size).astype(np.float32)
    windows = windows.copy()
    for _ in range(NUM_STEPS):
        shown, along_x, along_y = _view(large, windows, size)
        error = (small - shown).reshape(len(small), -1)
        # a pixel moves with the window's corner, and with its size as far as it lies from there
        slopes = np.stack(
            [along_x, along_y, along_x * centre, along_y * centre[:, None]], axis=1
        ).reshape(len(small), 4, -1)
        normal = slopes @ slopes.transpose(0, 2, 1)
        damping = DAMPING * (1 + np.trace(normal, axis1=1, axis2=2))
        normal += np.eye(4, dtype=np.float32) * damping[:, None, None]
        change = np.linalg.solve(normal, slopes @ error[..., None])[..., 0]
        windows += np.clip(change, -MAX_STEP, MAX_STEP)
        windows[:, :2] = np.clip(windows[:, :2], 0, MAX_CUT)
        windows[:, 2:] = np.clip(windows[:, 2:], 1 - 2 * MAX_CUT, 1 - windows[:, :2])
    return windows


def _view(
    large: Float32Array, windows: Float32Array, size: int
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """What the windows show, as N×size×size, and its slopes along x and y, per side."""
    side = large.shape[1]
    across, along_x = _interpolation(windows[:, 0], windows[:, 2], size, side)
    down, along_y = _interpolation(windows[:, 1], windows[:, 3], size, side)
    # products of small matrices: several times as fast as picking each pixel's four neighbours
    columns = large @ across.transpose(0, 2, 1)
    return down @ columns, down @ (large @ along_x.transpose(0, 2, 1)), along_y @ columns


def _interpolation(
    starts: Float32Array, lengths: Float32Array, size: int, side: int
) -> tuple[Float32Array, Float32Array]:
    """N×size×side of one axis: weights of linear interpolation, and those of its slopes."""
    centre = ((np.arange(size) + 0.5) / size).astype(np.float32)
    places = np.clip((starts[:, None] + lengths[:, None] * centre) * side - 0.5, 0, side - 1)
    first = np.minimum(places.astype(np.int64), side - 2)[..., None]
    share = places[..., None] - first
    weights, slopes = np.zeros((2, len(starts), size, side), np.float32)
    for array, before, after in ((weights, 1 - share, share), (slopes, -side, side)):
        np.put_along_axis(array, first, before, axis=2)
        np.put_along_axis(array, first + 1, after, axis=2)
    return weights, slopes


def _agree(
    large: UInt8Array, small: UInt8Array, windows: Float32Array, max_difference: float
) -> BoolArray:
    """Whether the truths agree in every cell of the larger one that its window covers."""
    rows, columns = (
        _overlaps(windows[:, axis], windows[:, axis + 2], TRUTH_PX, TRUTH_PX).transpose(0, 2, 1)
        for axis in (1, 0)
    )
    num, side = small.shape[:2]
    # the smaller truth, as coarse as the larger one shows it: what is finer can't be compared
    shown = (rows @ small.reshape(num, side, -1).astype(np.float32)).reshape(num, side, side, 3)
    shown = (columns[:, None] @ shown).astype(np.float32)
    covered = rows.sum(axis=2)[:, :, None] * columns.sum(axis=2)[:, None, :]
    difference = shown - large * covered[..., None]
    num_cells = side // CELL_PX
    cells = difference.reshape(num, num_cells, CELL_PX, num_cells, CELL_PX, 3).sum(axis=(2, 4))
    weights = covered.reshape(num, num_cells, CELL_PX, num_cells, CELL_PX).sum(axis=(2, 4))
    is_inside = weights >= CELL_PX**2 / 2
    cells = np.abs(np.where(is_inside[..., None], cells / np.maximum(weights, 1)[..., None], 0))
    means = cells.sum(axis=(1, 2)) / np.maximum(is_inside.sum(axis=(1, 2)), 1)[:, None]
    agree: BoolArray = (means <= MAX_MEAN_DIFFERENCE).all(axis=1)
    return agree & (cells <= max_difference).all(axis=(1, 2, 3))
