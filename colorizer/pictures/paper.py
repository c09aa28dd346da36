"""What of a picture is paper and what is ink: the paper's colour, light lines on dark, paint.

Training and serving ask the same questions here, so they treat tinted paper, white on black and
coloured pages alike. Ink is measured relative to the paper, whatever its tint: on paper of colour
p, ink of density d leaves p · (1 − d). Light ink on dark paper is the same after inverting both.

Shape legend: H×W pixels, 3 channels = red, green, blue. ``uint8`` 0..255, white paper = 255.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.pictures.decoding import WHITE

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

MEASURED_SIDE_PX = 128
"""Pictures are judged at the area of this square: faster, and grain and coding noise vanish."""
MAX_LINE_PX = 6
"""At that size; whatever is narrower is a line, and wider is painted."""
DARK_PAPER = 96
"""Paper whose grey level is below this is drawn on in light."""
MIN_LIGHT_INK = 112
"""Grey level that a thousandth of such a drawing reaches, at least; a dark photo doesn't."""
MIN_DARK_PAPER_SHARE = 0.5
"""Of the picture; a dark picture with less of one level is no drawing on dark paper."""
MIN_LIGHT_PAPER_SHARE = 0.25
"""Of the picture; one with less of one light level is a photo or painting."""
MAX_LIGHTER_SHARE = 0.1
"""Of the picture; with more that is lighter than its most frequent colour, this isn't its paper."""
PAPER_RANGE = 24
"""Levels (0..255) that a paper's own pixels differ from its colour, at most."""
FILLED_INK = 64
"""Ink (0..255) that is left without lines, from which a pixel is filled."""
MAX_FILLED_SHARE = 0.1
"""Of the picture; with more that is filled in light, it's no drawing on dark paper."""
CLEAR_CHROMA = 28
"""Max − min of RGB, relative to the paper, from which a pixel counts as coloured."""
SATURATED_CHROMA = 112
"""From here a colour isn't an old paper's or a faded ink's any more."""
SAME_HUE_DEGREES = 35
"""Hues so near the most frequent one count as the same: sepia, and one pencil."""
TINTED_CHROMA = 12
"""Paper with less chroma has no hue."""
MIN_COLOURED_SHARE = 0.02
"""Of the picture: painted in saturated colours, or in several hues, from which it's coloured."""
ONE_HUE_CHROMA = 72
"""From here paint counts also if it's all of one hue, unless this is the paper's."""
MIN_PAINTED_SHARE = 0.1
"""Of the picture: painted so, from which it's coloured."""

_BIN_WIDTH = 8
_NUM_BINS = 256 // _BIN_WIDTH
_BIN_STEPS = np.array([(_NUM_BINS + 1) ** 2, _NUM_BINS + 1, 1])
"""From a bin to the next of red, green, blue; an empty one follows the last of each."""
HUE_BIN_DEGREES = 5
NUM_HUE_BINS = 360 // HUE_BIN_DEGREES


class Paper(NamedTuple):
    """The colour of a picture's paper."""

    colour: tuple[int, int, int]
    """Red, green, blue; each 0..255."""
    share: float
    """0..1: the part of the picture that has this colour, within ``PAPER_RANGE``."""
    lighter_share: float
    """0..1: the part of the picture that is lighter by more than that: in any channel."""
    is_dark: bool
    """Whether one would draw on it in light."""

    @property
    def hue(self) -> float | None:
        """Of its tint (of the inverted tint, if it's dark) in degrees, −180..180; None: neutral."""
        colour = np.array(self.colour, np.uint8)
        if self.is_dark:
            colour = WHITE - colour
        _, chroma = _low_and_chroma(colour)
        return float(_hue(colour)) if chroma >= TINTED_CHROMA else None


class Page(NamedTuple):
    """What a picture is, as :func:`look_at` measures it."""

    paper: Paper
    light_ink: int | None
    """0..255: the grey level that a thousandth reaches; None unless the paper is dark."""
    filled_share: float
    """0..1: the part of the picture that is neither paper nor lines."""
    mean_chroma: float
    """Mean max − min of RGB (0..255) without lines, relative to the paper: how much is painted."""
    saturated_share: float
    """0..1: the part of the picture painted in saturated colours."""
    other_hues_share: float
    """0..1: the part of the picture painted in other hues than the most frequent one."""
    painted_share: float
    """0..1: the part of the picture painted clearly, in other hues than the paper's own."""

    @property
    def is_coloured(self) -> bool:
        """Whether it is painted in colours; sepia, tinted paper and coloured lines are not."""
        return (
            max(self.saturated_share, self.other_hues_share) >= MIN_COLOURED_SHARE
            or self.painted_share >= MIN_PAINTED_SHARE
        )

    @property
    def is_light_on_dark(self) -> bool:
        """Whether it is a drawing in light on dark paper; a coloured night scene is not."""
        return (
            self.light_ink is not None
            and self.light_ink >= MIN_LIGHT_INK
            and self.paper.share >= MIN_DARK_PAPER_SHARE
            and self.filled_share <= MAX_FILLED_SHARE
            and not self.is_coloured
        )

    @property
    def is_on_light_paper(self) -> bool:
        """Whether it is drawn on light paper of one colour; a photo or painting is not."""
        return (
            not self.paper.is_dark
            and self.paper.share >= MIN_LIGHT_PAPER_SHARE
            and self.paper.lighter_share <= MAX_LIGHTER_SHARE
            and not self.is_coloured
        )


def look_at(rgb: Image.Image, alpha: Image.Image | None = None) -> Page:
    """Judge an RGB picture of any size, composited on white where ``alpha`` (mode L) is low.

    Raises :class:`ValueError` for another mode.
    """
    small = reduced(rgb)
    paper = shown_paper = find_paper(small)
    light_ink = None
    if paper.is_dark:
        light_ink = _light_ink(rgb)
        small = _brightened(small, light_ink)  # the colours of a night scene are faint
        shown_paper = find_paper(small)._replace(is_dark=True)
    painted = without_lines(on_white(small, shown_paper))
    low, chroma = _low_and_chroma(painted)
    is_filled = low <= WHITE - FILLED_INK
    if alpha is not None:  # transparent pixels are paper, also where the rest is dark
        is_filled &= np.asarray(alpha.resize(small.size, Image.Resampling.BOX)) > WHITE // 2
    is_painted = chroma >= CLEAR_CHROMA
    hue, painted_chroma = _hue(painted[is_painted]), chroma[is_painted]
    is_other = ~_is_near(hue, _main_hue(hue, painted_chroma))
    is_not_paper = painted_chroma >= ONE_HUE_CHROMA
    if shown_paper.hue is not None:
        is_not_paper &= ~_is_near(hue, shown_paper.hue)
    return Page(
        paper=paper._replace(share=shown_paper.share),
        light_ink=light_ink,
        filled_share=float(is_filled.mean()),
        mean_chroma=float(chroma.mean()),
        saturated_share=float((chroma >= SATURATED_CHROMA).mean()),
        other_hues_share=int(is_other.sum()) / chroma.size,
        painted_share=int(is_not_paper.sum()) / chroma.size,
    )


def reduced(rgb: Image.Image, side: int = MEASURED_SIDE_PX) -> Image.Image:
    """A picture of about ``side``² px at most, by averaging.

    Raises :class:`ValueError` for another mode than RGB.
    """
    if rgb.mode != "RGB":
        raise ValueError(f"need a picture of mode RGB, got {rgb.mode}")
    scale = side / math.sqrt(rgb.width * rgb.height)
    if scale >= 1:
        return rgb
    width, height = (max(1, round(length * scale)) for length in rgb.size)
    return rgb.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def find_paper(rgb: Image.Image) -> Paper:
    """The most frequent colour of an RGB picture, with its neighbours: grain doesn't matter.

    Costs time by the pixel: give it a :func:`reduced` picture.
    """
    # three planes: NumPy is many times slower along an axis of three
    planes = np.ascontiguousarray(np.asarray(rgb).reshape(-1, 3).T)
    counts = np.bincount(_BIN_STEPS @ (planes // _BIN_WIDTH), minlength=_BIN_STEPS[0] * _NUM_BINS)
    for step in _BIN_STEPS:  # a colour at a bin's edge falls into both sides of it
        summed = 2 * counts
        summed[step:] += counts[:-step]
        summed[:-step] += counts[step:]
        counts = summed
    middle_of_bin = counts.argmax() // _BIN_STEPS % (_NUM_BINS + 1) * _BIN_WIDTH + _BIN_WIDTH // 2
    is_near = _are_near(planes, middle_of_bin, _BIN_WIDTH * 3 // 2)
    colour = np.rint(np.median(planes[:, is_near], axis=1)).astype(np.int64)
    share = _are_near(planes, colour, PAPER_RANGE).mean()
    lighter_share = (planes > _levels(colour + PAPER_RANGE)).any(axis=0).mean()
    red, green, blue = colour.tolist()
    is_dark = (299 * red + 587 * green + 114 * blue) // 1000 < DARK_PAPER
    return Paper((red, green, blue), float(share), float(lighter_share), is_dark)


def _are_near(planes: UInt8Array, colour: npt.NDArray[np.int64], reach: int) -> BoolArray:
    """3×N pixels → N: whether each channel differs from the colour's by at most ``reach``."""
    low, high = _levels(colour - reach), _levels(colour + reach)
    near: BoolArray = np.all((planes >= low) & (planes <= high), axis=0)
    return near


def _levels(colour: npt.NDArray[np.int64]) -> UInt8Array:
    """A colour, as 3×1, within 0..255."""
    return np.clip(colour, 0, WHITE).astype(np.uint8)[:, None]


def on_white(rgb: Image.Image, paper: Paper) -> Image.Image:
    """The same ink on white paper, RGB: the paper's colour divided out, dark paper inverted first.

    What is lighter than the paper becomes white. Unchanged for white paper.
    """
    if paper.colour == (WHITE, WHITE, WHITE) and not paper.is_dark:
        return rgb.copy()
    table: list[int] = []
    for level in paper.colour:
        below = max(1, WHITE - level if paper.is_dark else level)
        values = range(WHITE, -1, -1) if paper.is_dark else range(WHITE + 1)
        table += [min(WHITE, round(WHITE * value / below)) for value in values]
    return rgb.point(table)


def without_lines(on_white_paper: Image.Image) -> UInt8Array:
    """A :func:`reduced` picture on white paper → H×W×3 without its lines (a closing)."""
    pixels = np.asarray(on_white_paper)
    for extreme in (np.maximum, np.minimum):
        for axis in (0, 1):
            pixels = _extreme_along(pixels, axis, extreme)
    return pixels


def _extreme_along(pixels: UInt8Array, axis: int, extreme: np.ufunc) -> UInt8Array:
    """Each pixel's maximum or minimum with its neighbours along an axis; the border is repeated."""
    reach, length = MAX_LINE_PX // 2, pixels.shape[axis]
    result = pixels.take(np.clip(np.arange(-reach, length + reach), 0, length - 1), axis)
    covered, window = 1, 2 * reach + 1
    while covered < window:  # each pixel holds the extreme of so many from it onwards
        step = min(covered, window - covered)
        before = (slice(None),) * axis
        result = extreme(result[(*before, slice(-step))], result[(*before, slice(step, None))])
        covered += step
    return result


def _light_ink(rgb: Image.Image) -> int:
    """The grey level that a thousandth reaches, at full size: reducing pales thin lines."""
    cumulated = np.array(rgb.convert("L").histogram()).cumsum()
    return int(np.searchsorted(cumulated, 0.999 * cumulated[-1]))


def _brightened(rgb: Image.Image, level: int) -> Image.Image:
    """Scaled so that ``level`` becomes white, by 4 at most."""
    gain = min(4.0, WHITE / max(1, level))
    return rgb.point([min(WHITE, round(gain * value)) for value in range(WHITE + 1)] * 3)


def _low_and_chroma(pixels: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    """…×3 RGB → its least channel, and max − min of RGB."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    low = np.minimum(np.minimum(red, green), blue)
    return low, np.maximum(np.maximum(red, green), blue) - low


def _hue(pixels: UInt8Array) -> FloatArray:
    """…×3 RGB → hue in degrees, −180..180."""
    red, green, blue = np.moveaxis(pixels.astype(np.int16), -1, 0)
    hue: FloatArray = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue))
    return hue


def _main_hue(hue: FloatArray, chroma: UInt8Array) -> float:
    """The hue in degrees around which most of the chroma lies; 0 for no pixels."""
    bins = np.floor((hue + 180) / HUE_BIN_DEGREES).astype(int) % NUM_HUE_BINS
    weights = np.bincount(bins, chroma, minlength=NUM_HUE_BINS)
    reach = SAME_HUE_DEGREES // HUE_BIN_DEGREES
    offsets = np.arange(-reach, reach + 1)
    around = np.sum([np.roll(weights, offset) for offset in offsets], axis=0)
    middle = int(np.argmax(around))  # of the best window: what it holds may lie at its edge
    inside = weights[(middle + offsets) % NUM_HUE_BINS]
    shift = float(inside @ offsets / max(1.0, inside.sum()))
    return (middle + shift + 0.5) * HUE_BIN_DEGREES - 180


def _is_near(hue: FloatArray, other: float) -> BoolArray:
    near: BoolArray = np.abs((hue - other + 180) % 360 - 180) <= SAME_HUE_DEGREES
    return near
