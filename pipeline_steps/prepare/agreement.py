"""Whether the two halves of a pair belong together: measures, and what they say against a pair.

The outlines of the colour half are compared with the lines of the sketch half. Both are local
contrasts, so neither the paper's colour nor the pen's width and strength matter. In a true pair
every line lies on an outline. Where lines and outlines disagree, the sketch is also tried moved,
enlarged, reduced, turned and mirrored: if it fits clearly better so, the reason says how.

Shape legend: M = ``MEASURED_PX``, the side of the square in which pairs are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.pictures.squares import Placement
from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.reading import PairChecks

Float32Array = npt.NDArray[np.float32]
AnyPixels = TypeVar("AnyPixels", UInt8Array, Float32Array)

MEASURED_PX = 128
BORDER_PX = 2
"""Of M, at each side of a picture, where frames and resampling make lines that mean nothing."""
OUTLINE_SHARE, MIN_OUTLINE_LEVELS = 0.25, 20
"""Of the strongest outlines' contrast, and in levels (0..255): what counts as a full outline …"""
FAINT_OUTLINE_SHARE, MIN_FAINT_OUTLINE_LEVELS = 0.12, 10
"""… and what is enough for a line to lie on it."""
MIN_LINE_LEVELS = 24
"""Contrast of the strongest lines (0..255) below which a sketch shows nothing but grain."""
GRAIN_SHARE, FULL_LINE_SHARE = 0.15, 0.75
"""Of the strongest lines' contrast: below is grain, from there it's a full line."""
TONE_PX = 64
"""The square in which tones are compared."""
LINE_REACH = 2
"""Pixels of it; lines of up to twice as many are removed first."""
STEP_LEVELS, FULL_STEP_LEVELS = 6, 24
"""Difference (0..255) of neighbours: below is grain, from there it's a full step."""
MAX_STEP_RATIO = 1.5
"""Of the sketch's step and the colour half's; greater ones are ink's."""
SOLID_LEVEL = 0.4
"""Of the paper's level; darker areas of a sketch are solid ink, as in hair, and no tone."""
CLEAR_MATCH = 0.5
"""A sketch that matches less, wherever it is tried, belongs to another picture."""
MOSTLY_STRAY = 0.55
"""From here a sketch shows something else, such as a photo's grain, however well the rest fits."""
CLEAR_STRAY = 0.01
"""With less astray anywhere the sketch isn't tried in other places: its lines have outlines."""
THICK_LINE_PX = 4
"""Of M; thinner lines lie within a pixel of their outline."""
MIN_LINE_AREA = 12.0
"""In pixels of M²: parts of the picture with less of lines say little."""
MAX_MOVED_PX = 48
SCALES = (0.8, 0.84, 0.88, 0.92, 0.96, 1.04, 1.08, 1.12, 1.16, 1.2, 1.25)
MAX_SCALED_AND_MOVED_PX = 20
MAX_TURNED_AND_MOVED_PX = 8


class Fit(NamedTuple):
    """How the lines fit best, and how well."""

    match: float
    """As ``Agreement.match``, there."""
    how: str
    """In words, such as ``mirrored``; empty: as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Measures of a pair. Columns of ``manifest.csv``."""

    match: float
    """Correlation of the lines with the colour half's outlines, −1..1; 1: equal."""
    gain: float
    """By how much the match rises when the sketch is moved, scaled, turned or mirrored, 0..1."""
    stray: float
    """0..1: the part of the lines that lie where the colour half has no outline."""
    worst_stray: float
    """0..1: the same in the part of the picture (a square of M/8) where it's worst."""
    tone: float
    """Correlation of the steps from area to area, −1..1; 1: the sketch is the picture in grey."""
    toned: float
    """0..1: the part of the colour half's steps from area to area that the sketch half has too."""
    white: float
    """0..1: the part of the sketch that is as light as its paper."""
    chroma: float
    """Of the most coloured hundredth of the colour half: max − min of RGB, 0..255."""
    contrast: float
    """Of the sketch's strongest lines, 0..255."""
    best: Fit


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where measures speak against a pair; those of one line count together."""

    min_match: float
    max_stray: float
    max_gain: float
    max_gain_stray: float
    max_worst_stray: float
    max_part_stray: float
    min_part_match: float
    max_toned: float
    max_tone: float
    min_chroma: float


LIMITS: dict[PairChecks, Limits] = {
    "strict": Limits(
        min_match=0.4,
        max_stray=0.03,
        max_gain=0.08,
        max_gain_stray=0.12,
        max_worst_stray=0.5,
        max_part_stray=0.015,
        min_part_match=0.65,
        max_toned=0.4,
        max_tone=0.85,
        min_chroma=12,
    ),
    "lenient": Limits(
        min_match=0.35,
        max_stray=0.06,
        max_gain=0.2,
        max_gain_stray=0.25,
        max_worst_stray=0.8,
        max_part_stray=0.06,
        min_part_match=0.5,
        max_toned=0.6,
        max_tone=0.9,
        min_chroma=8,
    ),
}


def measure_agreement(packed: UInt8Array, placement: Placement) -> Agreement:
    """Measure a packed pair (S×S×4, S ≥ M a multiple of it); the pictures lie at ``placement``."""
    small = _reduced(packed, MEASURED_PX)
    area = _inner_area(placement, MEASURED_PX / len(packed))
    planes = np.ascontiguousarray(np.moveaxis(small, -1, 0))
    outline_levels = _only(area, _contrast(planes[COLOUR]).max(axis=0))
    line_levels = _only(area, _contrast(planes[3]))
    contrast = _quantile(line_levels, 0.995)
    strongest = _quantile(outline_levels, 0.995)
    outlines = _ramp(outline_levels, 0, max(OUTLINE_SHARE * strongest, MIN_OUTLINE_LEVELS))
    faint = _ramp(outline_levels, 0, max(FAINT_OUTLINE_SHARE * strongest, MIN_FAINT_OUTLINE_LEVELS))
    lines = _ramp(line_levels, GRAIN_SHARE * contrast, FULL_LINE_SHARE * contrast)
    match = _match_in_place(outlines, lines)
    stray, worst_stray = _stray(faint, lines, _line_reach(planes[3], line_levels))
    best = Fit(match, "")
    if worst_stray > CLEAR_STRAY and contrast >= MIN_LINE_LEVELS:
        best = max(best, *_fits_elsewhere(outlines, lines))
    tiny = _reduced(small, TONE_PX)
    tiny_area = _inner_area(placement, TONE_PX / len(packed))
    tone, toned = _tones(tiny, tiny_area)
    sketch = planes[3][area]
    return Agreement(
        match=match,
        gain=best.match - match,
        stray=stray,
        worst_stray=worst_stray,
        tone=tone,
        toned=toned,
        white=float((sketch >= 0.9 * _quantile(sketch, 0.95)).mean()),
        chroma=_chroma(tiny, tiny_area),
        contrast=contrast,
        best=best,
    )


def objection(agreement: Agreement, checks: PairChecks) -> str:
    """Why a pair is rejected, as ``kind: detail``; empty if nothing speaks against it."""
    if checks == "off":
        return ""
    limits = LIMITS[checks]
    if agreement.contrast < MIN_LINE_LEVELS:
        return f"no lines in the sketch half: contrast {agreement.contrast:.0f} of 255"
    if agreement.chroma < limits.min_chroma:
        return f"colour half has no colour: chroma {agreement.chroma:.0f} of 255"
    if agreement.toned > limits.max_toned and agreement.tone > limits.max_tone:
        return (
            f"sketch half is a toned picture: it has {agreement.toned:.0%} of the colour half's"
            " areas in grey"
        )
    is_elsewhere = (
        agreement.gain > limits.max_gain and agreement.worst_stray > limits.max_gain_stray
    )
    if is_elsewhere and agreement.best.match >= CLEAR_MATCH:
        return (
            f"sketch doesn't lie on the colour half: it fits if {agreement.best.how}"
            f" (match {agreement.best.match:.2f}, as it is {agreement.match:.2f})"
        )
    is_stray = agreement.stray > MOSTLY_STRAY or (
        agreement.match < limits.min_match and agreement.stray > limits.max_stray
    )
    if is_elsewhere or is_stray:
        return (
            f"halves don't belong together: match {agreement.match:.2f}, {agreement.stray:.0%} of"
            " the lines have no outline in the colour half"
        )
    if (
        agreement.worst_stray > limits.max_worst_stray
        and agreement.stray > limits.max_part_stray
        and agreement.match < limits.min_part_match
    ):
        return (
            "halves differ in part: in one place"
            f" {agreement.worst_stray:.0%} of the lines have no outline in the colour half"
        )
    return ""


def severity(agreement: Agreement) -> float:
    """How much speaks against a pair, for ranking: above 1 the strict checks reject it."""
    limits = LIMITS["strict"]
    return max(
        min(agreement.toned / limits.max_toned, agreement.tone / limits.max_tone),
        min(
            agreement.gain / limits.max_gain,
            agreement.worst_stray / limits.max_gain_stray,
        ),
        min(
            limits.min_match / max(agreement.match, 0.01),
            agreement.stray / limits.max_stray,
        ),
        min(
            agreement.worst_stray / limits.max_worst_stray,
            agreement.stray / limits.max_part_stray,
            limits.min_part_match / max(agreement.match, 0.01),
        ),
        limits.min_chroma / max(agreement.chroma, 1),
        MIN_LINE_LEVELS / max(agreement.contrast, 1),
        agreement.stray / MOSTLY_STRAY,
    )


def _reduced(pixels: UInt8Array, size: int) -> UInt8Array:
    """S×S×C → size×size×C by averaging blocks; S is a multiple of ``size``."""
    block = len(pixels) // size
    if block == 1:
        return pixels
    # CMYK: four channels, and none of them an alpha
    picture = Image.frombuffer("CMYK", pixels.shape[:2], np.ascontiguousarray(pixels))
    return np.asarray(picture.reduce(block))


def _inner_area(placement: Placement, scale: float) -> tuple[slice, slice]:
    """The picture without the square's padding and without its own border."""
    starts = (placement.top, placement.left)
    lengths = (placement.height, placement.width)
    first, second = (
        slice(int(start * scale) + BORDER_PX, int((start + length) * scale) - BORDER_PX)
        for start, length in zip(starts, lengths, strict=True)
    )
    return first, second


def _only(area: tuple[slice, slice], levels: UInt8Array) -> UInt8Array:
    result = np.zeros_like(levels)
    result[area] = levels[area]
    return result


def _contrast(planes: UInt8Array) -> UInt8Array:
    """…×H×W → the same: greatest minus least level among the 3×3 neighbours."""
    return _extreme(np.maximum, planes) - _extreme(np.minimum, planes)


def _extreme(extreme: np.ufunc, planes: AnyPixels, reach: int = 1) -> AnyPixels:
    """…×H×W → the same: maximum or minimum of the neighbours within ``reach`` pixels."""
    result = planes
    for _ in range(reach):
        wider = result.copy()
        extreme(wider[..., 1:, :], result[..., :-1, :], out=wider[..., 1:, :])
        extreme(wider[..., :-1, :], result[..., 1:, :], out=wider[..., :-1, :])
        result = wider.copy()
        extreme(result[..., 1:], wider[..., :-1], out=result[..., 1:])
        extreme(result[..., :-1], wider[..., 1:], out=result[..., :-1])
    return result


def _quantile(levels: UInt8Array, share: float) -> float:
    """The least level (0..255) that so much of an array reaches or lies below."""
    cumulated = np.bincount(levels.ravel(), minlength=256).cumsum()
    return float(np.searchsorted(cumulated, share * cumulated[-1]))


def _ramp(levels: UInt8Array, low: float, high: float) -> Float32Array:
    """0 up to ``low``, 1 from ``high``."""
    ramp: Float32Array = np.clip(
        (levels - np.float32(low)) / np.float32(max(1.0, high - low)), 0, 1
    )
    return ramp


def _match_in_place(outlines: Float32Array, lines: Float32Array, reach: int = 1) -> float:
    """Correlation within ``reach`` pixels of the same place: halving a picture may shift it so."""
    size = len(outlines)
    first, second = outlines - outlines.mean(), lines - lines.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    if norm == 0:
        return 0.0
    inner = second[reach : size - reach, reach : size - reach]
    steps = range(2 * reach + 1)
    sums = (
        float((first[y : y + size - 2 * reach, x : x + size - 2 * reach] * inner).sum())
        for y in steps
        for x in steps
    )
    return max(sums) / norm


class _Trial(NamedTuple):
    """Lines to be tried at the places within ``reach`` pixels; ``how`` as in :class:`Fit`."""

    lines: Float32Array
    reach: int
    how: str = ""


class _Best(NamedTuple):
    """The greatest correlation of a trial, and how many pixels down and right it lies."""

    match: float
    down: int
    right: int


def _try_places(outlines: Float32Array, trials: Sequence[_Trial]) -> list[_Best]:
    """Correlate square pictures with one picture at all places at once (FFT)."""
    centred = outlines - outlines.mean()
    pictures = np.stack([trial.lines - trial.lines.mean() for trial in trials])
    norms = np.sqrt((centred**2).sum() * (pictures**2).sum(axis=(1, 2)))
    spectra = np.fft.rfft2(centred) * np.conj(np.fft.rfft2(pictures))
    correlations = np.fft.irfft2(spectra, centred.shape)
    found = []
    for trial, norm, places in zip(trials, norms.tolist(), correlations, strict=True):
        if norm == 0:
            found.append(_Best(0.0, 0, 0))
            continue
        steps = np.arange(-trial.reach, trial.reach + 1)
        window = places[np.ix_(steps, steps)]
        down, right = np.unravel_index(int(window.argmax()), window.shape)
        match = float(window[down, right]) / norm
        found.append(_Best(match, int(steps[down]), int(steps[right])))
    return found


def _fits_elsewhere(outlines: Float32Array, lines: Float32Array) -> list[Fit]:
    """How well the lines fit if moved; if scaled and moved; if turned or mirrored."""
    (moved,) = _try_places(outlines, [_Trial(lines, MAX_MOVED_PX)])
    fits = []
    if max(abs(moved.down), abs(moved.right)) > 1:
        how = f"moved by {_percent(moved.right)} right and {_percent(moved.down)} down"
        fits.append(Fit(moved.match, how))
    half = len(outlines) // 2
    small = _halved(lines, half)
    trials = [
        _Trial(small, 1),
        *(
            _Trial(
                _scaled(small, scale),
                MAX_SCALED_AND_MOVED_PX // 2,
                f"{'enlarged' if scale > 1 else 'reduced'} to {scale:.0%}",
            )
            for scale in SCALES
        ),
        _Trial(small[:, ::-1], MAX_TURNED_AND_MOVED_PX // 2, "mirrored"),
        _Trial(small[::-1, ::-1], MAX_TURNED_AND_MOVED_PX // 2, "turned by 180°"),
        _Trial(small[::-1], MAX_TURNED_AND_MOVED_PX // 2, "mirrored upside down"),
        _Trial(np.rot90(small), MAX_TURNED_AND_MOVED_PX // 2, "turned left by 90°"),
        _Trial(np.rot90(small, 3), MAX_TURNED_AND_MOVED_PX // 2, "turned right by 90°"),
    ]
    here, *others = _try_places(_halved(outlines, half), trials)
    start = _match_in_place(outlines, lines) - here.match
    fits += [
        Fit(start + best.match, trial.how) for trial, best in zip(trials[1:], others, strict=True)
    ]
    return fits


def _percent(pixels: int) -> str:
    return f"{pixels / MEASURED_PX:.0%}"


def _halved(picture: Float32Array, half: int) -> Float32Array:
    means: Float32Array = picture.reshape(half, 2, half, 2).mean(axis=(1, 3))
    return means


def _scaled(lines: Float32Array, scale: float) -> Float32Array:
    """The same square, enlarged or reduced about its middle."""
    size = len(lines)
    length = size / scale
    start = (size - length) / 2
    return np.asarray(
        Image.fromarray(lines).transform(
            (size, size),
            Image.Transform.EXTENT,
            (start, start, start + length, start + length),
            Image.Resampling.BILINEAR,
        )
    )


def _stray(faint: Float32Array, lines: Float32Array, reach: int) -> tuple[float, float]:
    """The part of the lines farther than ``reach`` from any outline: of all, where it's worst."""
    far = 1 - _extreme(np.maximum, faint, reach)
    in_all, astray = (_in_parts(each) for each in (lines, lines * far))
    total = float(in_all.sum())
    if total == 0:
        return 0.0, 0.0
    shares = astray / np.maximum(in_all, MIN_LINE_AREA)
    return float(astray.sum()) / total, float(shares.max())


def _line_reach(sketch: UInt8Array, line_levels: UInt8Array) -> int:
    """Half the lines' width in pixels, 1..3: beside an outline without a line lies half a line."""
    lines = _extreme(np.minimum, _extreme(np.maximum, sketch, 4), 4) - sketch
    # the contrast of a line is seen on two pixels at each of its sides
    width = 4 * float(lines.sum()) / max(1.0, float(line_levels.sum()))
    return min(3, max(1, round((width + 0.5) / 2) if width > THICK_LINE_PX else 1))


def _in_parts(picture: Float32Array) -> Float32Array:
    """M×M → sums over squares of M/8 px that overlap by half."""
    sums = picture.reshape(16, len(picture) // 16, 16, -1).sum(axis=(1, 3))
    parts: Float32Array = sums[1:, 1:] + sums[1:, :-1] + sums[:-1, 1:] + sums[:-1, :-1]
    return parts


def _tones(small: UInt8Array, area: tuple[slice, slice]) -> tuple[float, float]:
    """Compare areas without lines: correlation of the steps, and the part of them that is common.

    A line is no step, having paper on both sides; nor is solid ink.
    """
    sketch = np.ascontiguousarray(small[area][..., 3])
    red, green, blue = np.moveaxis(small[area][..., COLOUR].astype(np.uint16), -1, 0)
    grey = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)
    areas, grey_areas = (
        _extreme(np.minimum, _extreme(np.maximum, each, LINE_REACH), LINE_REACH)
        for each in (sketch, grey)
    )
    is_solid = (areas < SOLID_LEVEL * _quantile(sketch, 0.95)).astype(np.uint8)
    is_seen = (_extreme(np.maximum, is_solid, LINE_REACH) == 0)[:-1, :-1]
    steps, grey_steps = (_steps(each) * is_seen for each in (areas, grey_areas))
    norm = float(np.sqrt((steps**2).sum() * (grey_steps**2).sum()))
    total = float(np.minimum(np.abs(grey_steps), FULL_STEP_LEVELS).sum())
    if norm == 0:
        return 0.0, 0.0
    tone = float((steps * grey_steps).sum()) / norm
    common = np.minimum(np.abs(steps), np.minimum(np.abs(grey_steps), FULL_STEP_LEVELS))
    common[np.abs(steps) > MAX_STEP_RATIO * np.abs(grey_steps)] = 0  # lines that lie close together
    return tone, float(common.sum()) / total


def _steps(areas: UInt8Array) -> Float32Array:
    """H×W → 2×H−1×W−1: how much lighter the neighbour below and to the right is; grain is 0."""
    levels = areas.astype(np.float32)
    steps = np.stack([levels[1:, :-1] - levels[:-1, :-1], levels[:-1, 1:] - levels[:-1, :-1]])
    steps[np.abs(steps) < STEP_LEVELS] = 0
    return steps


def _chroma(small: UInt8Array, area: tuple[slice, slice]) -> float:
    """The 99th percentile of max − min of RGB, averaged first so that grain doesn't count."""
    colour = small[area][..., COLOUR]
    red, green, blue = np.moveaxis(colour, -1, 0)
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return _quantile(high - low, 0.99)
