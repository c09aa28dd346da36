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
        hue, chroma = _hue_and_chroma(WHITE - colour if self.is_dark else colour)
        return float(hue) if chroma >= TINTED_CHROMA else None


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
    is_filled = painted.min(axis=-1) <= WHITE - FILLED_INK
    if alpha is not None:  # transparent pixels are paper, also where the rest is dark
        is_filled &= np.asarray(alpha.resize(small.size, Image.Resampling.BOX)) > WHITE // 2
    hue, chroma = _hue_and_chroma(painted)
    is_painted = chroma >= CLEAR_CHROMA
    main_hue = _main_hue(hue[is_painted], chroma[is_painted])
    is_other = is_painted & ~_is_near(hue, main_hue)
    is_not_paper = chroma >= ONE_HUE_CHROMA
    if shown_paper.hue is not None:
        is_not_paper &= ~_is_near(hue, shown_paper.hue)
    return Page(
        paper=paper._replace(share=shown_paper.share),
        light_ink=light_ink,
        filled_share=float(is_filled.mean()),
        mean_chroma=float(chroma.mean()),
        saturated_share=float((chroma >= SATURATED_CHROMA).mean()),
        other_hues_share=float(is_other.mean()),
        painted_share=float(is_not_paper.mean()),
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
    pixels = np.asarray(rgb).reshape(-1, 3)
    bins = (pixels // _BIN_WIDTH).astype(np.int64) @ (_NUM_BINS**2, _NUM_BINS, 1)
    counts = np.bincount(bins, minlength=_NUM_BINS**3).reshape((_NUM_BINS,) * 3)
    for axis in range(3):  # a colour at a bin's edge falls into both sides of it
        along = np.moveaxis(counts, axis, 0)
        summed = 2 * along
        summed[1:] += along[:-1]
        summed[:-1] += along[1:]
        counts = np.moveaxis(summed, 0, axis)
    middle_of_bin = np.array(np.unravel_index(counts.argmax(), counts.shape)) * _BIN_WIDTH
    middle_of_bin += _BIN_WIDTH // 2
    is_near = (np.abs(pixels - middle_of_bin) <= _BIN_WIDTH * 3 // 2).all(axis=1)
    colour = np.rint(np.median(pixels[is_near], axis=0)).astype(int)
    share = (np.abs(pixels - colour) <= PAPER_RANGE).all(axis=1).mean()
    lighter_share = (pixels > colour + PAPER_RANGE).any(axis=1).mean()
    red, green, blue = colour.tolist()
    is_dark = (299 * red + 587 * green + 114 * blue) // 1000 < DARK_PAPER
    return Paper((red, green, blue), float(share), float(lighter_share), is_dark)


def on_white(rgb: Image.Image, paper: Paper) -> Image.Image:
    """The same ink on white paper, RGB: the paper's colour divided out, dark paper inverted first.

    What is lighter than the paper becomes white. Unchanged for white paper.
    """
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
    reach = MAX_LINE_PX // 2
    width = [(reach, reach) if each == axis else (0, 0) for each in range(pixels.ndim)]
    padded = np.swapaxes(np.pad(pixels, width, mode="edge"), 0, axis)
    length = pixels.shape[axis]
    result = padded[:length].copy()
    for start in range(1, 2 * reach + 1):
        extreme(result, padded[start : start + length], out=result)
    return np.swapaxes(result, 0, axis)


def _light_ink(rgb: Image.Image) -> int:
    """The grey level that a thousandth reaches, at full size: reducing pales thin lines."""
    cumulated = np.array(rgb.convert("L").histogram()).cumsum()
    return int(np.searchsorted(cumulated, 0.999 * cumulated[-1]))


def _brightened(rgb: Image.Image, level: int) -> Image.Image:
    """Scaled so that ``level`` becomes white, by 4 at most."""
    gain = min(4.0, WHITE / max(1, level))
    return rgb.point([min(WHITE, round(gain * value)) for value in range(WHITE + 1)] * 3)


def _hue_and_chroma(pixels: UInt8Array) -> tuple[FloatArray, npt.NDArray[np.int16]]:
    """…×3 RGB → hue in degrees, −180..180, and max − min of RGB, 0..255."""
    red, green, blue = np.moveaxis(pixels.astype(np.int16), -1, 0)
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    hue: FloatArray = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue))
    return hue, high - low


def _main_hue(hue: FloatArray, chroma: npt.NDArray[np.int16]) -> float:
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


def _is_near(hue: FloatArray, other: float) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = np.abs((hue - other + 180) % 360 - 180) <= SAME_HUE_DEGREES
    return near
