"""One pair of the raw archive → halves, judged and packed; what the workers of ``prepare`` run.

Shape legend: S = image size in pixels, square; 4 channels as in ``pairs.py``.
"""

import hashlib
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.cielab import RGB_WHITE, srgb_to_lab
from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.squares import fit_sketch, fit_square
from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import COLOUR, SKETCH, UInt8Array, pack
from pipeline_steps.prepare.duplicates import Fingerprint, fingerprint
from pipeline_steps.prepare.pairing import Candidate, Member

SketchSide = Literal["left", "right"]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

MIN_HALF_PX = 8
MAX_ASPECT = 4.0
"""Of a half; a longer one would be mostly padding."""
MAX_ASPECT_DIFFERENCE = 0.02
"""Of colour and sketch from two folders, relative."""
CLEAR_CHROMA = 8.0
"""Mean of max − min of RGB (0..255) above which a half is clearly coloured."""
MAX_CHROMA_SHARE = 0.5
"""A sketch may have this share of its colour picture's chroma: paper tint, blue pencil."""
MIN_CONTRAST = 8
"""Largest minus smallest grey level below which a half shows nothing."""
BYTES_PER_PIXEL = 8
"""Uncompressed, 4 samples of 16 bits: no picture file has a reason to be larger."""
HEADER_ROOM_BYTES = 1024 * 1024

PROBE_PX = 64
SIDE_PROBES = 64
SIDE_AGREEMENT = 0.8
MIN_CLEAR_SHARE = 0.25

HUE_BINS = 36
"""Of 10° each."""
MIN_HUE_CHROMA = 10.0
"""CIELAB units below which a pixel has no hue worth counting."""

_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


class _RejectedError(Exception):
    """A pair can't be used; the message is ``kind`` or ``kind: detail``."""


@dataclass(frozen=True, kw_only=True)
class PairRules:
    """How a raw pair is read."""

    image_size: int
    sketch_side: SketchSide | None
    """None where no picture holds both halves."""
    max_picture_pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourSums:
    """Sums over a picture's pixels, to be added up over many pictures."""

    num_pixels: int
    lab: Float64Array
    """Sum of L*, a*, b*."""
    lab_squared: Float64Array
    hues: Int64Array
    """Coloured pixels by hue, ``HUE_BINS`` bins from 0° = +a*."""


@dataclass(kw_only=True, slots=True)
class RawPair:
    """What is known of a pair once it was read; ``reason`` is empty when it can be used."""

    sha256: str = ""
    sketch_sha256: str = ""
    width: int | None = None
    height: int | None = None
    reason: str = ""
    fingerprint: Fingerprint | None = None
    colours: ColourSums | None = None


class _Halves(NamedTuple):
    colour: Image.Image
    sketch: Image.Image


def read_pair(
    archive: zipfile.ZipFile, candidate: Candidate, rules: PairRules
) -> tuple[RawPair, UInt8Array | None]:
    """Read, judge and pack a pair: its facts, and its S×S×4 row unless it was rejected.

    No picture, however broken, makes this raise.
    """
    facts = RawPair()
    try:
        decode = partial(open_picture, max_pixels=rules.max_picture_pixels)
        halves = _read_halves(archive, candidate, rules, facts, decode)
        facts.width, facts.height = halves.colour.size
        _check_shapes(halves)
        _check_chroma(halves)
        row = _pack(halves, rules.image_size)
        _check_information(halves, row)
    except (_RejectedError, PictureError) as error:
        facts.reason = str(error)
        return facts, None
    except MemoryError:
        facts.reason = "too large: not enough memory"
        return facts, None
    facts.fingerprint = fingerprint(halves.colour, halves.sketch, row)
    facts.colours = _colour_sums(row)
    return facts, row


def find_sketch_side(
    archive: zipfile.ZipFile, candidates: Iterable[Candidate], guard: DecoderProcess
) -> SketchSide:
    """Tell which half is the sketch from the chroma of the halves.

    Looks at the first ``SIDE_PROBES`` sane pictures of ``candidates``. Raises :class:`DataError`
    unless a quarter of them differ clearly, and four fifths of these agree.
    """
    rules = PairRules(image_size=1, sketch_side="right", max_picture_pixels=guard.max_pixels)
    num_probes, differences = 0, []
    for candidate in candidates:
        try:
            left, right = _read_halves(archive, candidate, rules, RawPair(), guard.open)
            _check_shapes(_Halves(left, right))
        except (_RejectedError, PictureError):
            continue
        num_probes += 1
        difference = _chroma(left) - _chroma(right)
        if abs(difference) > CLEAR_CHROMA:
            differences.append(difference)
        if num_probes == SIDE_PROBES:
            break
    return _decide_side(num_probes, np.array(differences))


def _decide_side(num_probes: int, differences: Float64Array) -> SketchSide:
    if not num_probes:
        raise DataError(
            "no sane side-by-side picture to tell the sketch's side from;"
            " see data/raw/source.json for what was taken"
        )
    num_clear = len(differences)
    num_right = int((differences > 0).sum())
    most = max(num_right, num_clear - num_right)
    if num_clear < max(1, MIN_CLEAR_SHARE * num_probes) or most < SIDE_AGREEMENT * num_clear:
        raise DataError(
            f"can't tell which half is the sketch: of {num_probes} pictures the left half is"
            f" greyer in {num_clear - num_right}, the right in {num_right}, neither clearly in"
            f" {num_probes - num_clear}; set prepare.sketch_side to left or right"
        )
    return "right" if num_right == most else "left"


# --- reading -------------------------------------------------------------------------------------


def _read_halves(
    archive: zipfile.ZipFile,
    candidate: Candidate,
    rules: PairRules,
    facts: RawPair,
    decode: Callable[[bytes], Image.Image],
) -> _Halves:
    data = _read_member(archive, candidate.member, rules.max_picture_pixels)
    facts.sha256 = hashlib.sha256(data).hexdigest()
    if candidate.sketch_member is None:
        return _split_halves(decode(data), rules.sketch_side)
    sketch_data = _read_member(archive, candidate.sketch_member, rules.max_picture_pixels)
    facts.sketch_sha256 = hashlib.sha256(sketch_data).hexdigest()
    colour = decode(data)
    try:
        sketch = decode(sketch_data)
    except PictureError as error:
        raise _RejectedError(f"sketch {error}") from None
    return _Halves(colour, sketch)


def _read_member(archive: zipfile.ZipFile, member: Member, max_pixels: int) -> bytes:
    info = archive.infolist()[member.position]
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise _RejectedError("no plain file: a link or a device")
    max_bytes = max_pixels * BYTES_PER_PIXEL + HEADER_ROOM_BYTES
    if info.file_size > max_bytes:
        raise _RejectedError(
            f"too large: a file of {info.file_size} bytes, at most {max_bytes} are taken"
        )
    try:
        return archive.read(info)
    # RuntimeError: encrypted, or compressed in a way that Python does not know
    except (*_ZIP_DAMAGE, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _RejectedError(f"damaged in the archive: {reason}") from None


def _split_halves(picture: Image.Image, sketch_side: SketchSide | None) -> _Halves:
    width, height = picture.size
    if width % 2:
        raise _RejectedError(f"odd width: {width}×{height} px can't be halved")
    left = picture.crop((0, 0, width // 2, height))
    right = picture.crop((width // 2, 0, width, height))
    return _Halves(left, right) if sketch_side == "right" else _Halves(right, left)


# --- judging -------------------------------------------------------------------------------------


def _check_shapes(halves: _Halves) -> None:
    aspects = []
    for half in halves:
        width, height = half.size
        if min(half.size) < MIN_HALF_PX:
            raise _RejectedError(
                f"too small: a half is {width}×{height} px, at least {MIN_HALF_PX} are needed"
            )
        if max(half.size) > MAX_ASPECT * min(half.size):
            raise _RejectedError(f"too long: a half is {width}×{height} px")
        aspects.append(width / height)
    if abs(aspects[0] / aspects[1] - 1) > MAX_ASPECT_DIFFERENCE:
        (width, height), (sketch_width, sketch_height) = (half.size for half in halves)
        raise _RejectedError(
            f"shapes differ: colour {width}×{height} px, sketch {sketch_width}×{sketch_height} px"
        )


def _check_chroma(halves: _Halves) -> None:
    colour, sketch = (_chroma(half) for half in halves)
    if sketch > CLEAR_CHROMA and sketch > MAX_CHROMA_SHARE * colour:
        raise _RejectedError(
            f"sketch half is coloured: mean chroma {sketch:.1f}, the colour half's {colour:.1f}"
        )


def _check_information(halves: _Halves, row: UInt8Array) -> None:
    for name, half in zip(("colour", "sketch"), halves, strict=True):
        extrema = half.getextrema()
        if all(high - low < MIN_CONTRAST for low, high in extrema):  # type: ignore[misc]
            raise _RejectedError(f"blank {name} half")
    if np.array_equal(row[..., COLOUR], np.broadcast_to(row[..., SKETCH], (*row.shape[:2], 3))):
        raise _RejectedError("both halves are the same picture")


def _chroma(half: Image.Image) -> float:
    """Mean of max − min of RGB (0..255); averaged first, so that coding noise doesn't count."""
    probe = half
    if max(half.size) > PROBE_PX:
        probe = half.resize((PROBE_PX, PROBE_PX), Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(probe), -1, 0)
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    return float((high - low).mean())


# --- packing -------------------------------------------------------------------------------------


def _pack(halves: _Halves, image_size: int) -> UInt8Array:
    colour, _ = fit_square(halves.colour, image_size)
    sketch, _ = fit_sketch(halves.sketch, image_size)
    return pack(colour, sketch)


def _colour_sums(row: UInt8Array) -> ColourSums:
    step = max(1, len(row) // PROBE_PX)
    encoded = np.moveaxis(row[None, ::step, ::step, COLOUR] / 255.0, -1, 1)
    lab = srgb_to_lab(encoded, np, white=RGB_WHITE)[0].reshape(3, -1).T
    a, b = lab[:, 1], lab[:, 2]
    is_coloured = np.hypot(a, b) > MIN_HUE_CHROMA
    degrees = np.degrees(np.arctan2(b, a))[is_coloured] % 360.0
    bins = (degrees * (HUE_BINS / 360.0)).astype(np.int64) % HUE_BINS
    return ColourSums(
        num_pixels=len(lab),
        lab=lab.sum(axis=0),
        lab_squared=np.square(lab).sum(axis=0),
        hues=np.bincount(bins, minlength=HUE_BINS),
    )
