"""A listed pair of the raw archive → its two pictures, at full size.

Whatever is wrong with a pair or a picture becomes a :class:`RejectedError`, never another error.
"""

import hashlib
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from PIL import Image

from colorizer.base.archive_damage import is_damage
from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import Decoded
from pipeline_steps.prepare.pairing import ListedPair, Member

SketchSide = Literal["left", "right"]
PairChecks = Literal["strict", "lenient", "off"]
"""How strictly pairs are rejected whose halves don't belong together."""
Decode = Callable[[bytes], Decoded]

MAX_BYTES_PER_PIXEL = 8
"""Uncompressed, 4 samples of 16 bits: no picture file has a reason to be larger."""
MAX_HEADER_BYTES = 1024 * 1024


class RejectedError(Exception):
    """A pair can't be used; the message is ``kind`` or ``kind: detail``."""


@dataclass(frozen=True, kw_only=True)
class PairRules:
    """How the pairs of an archive are read and packed."""

    image_size: int
    sketch_side: SketchSide | None
    """None where no picture holds both halves."""
    max_picture_pixels: int
    pair_checks: PairChecks = "off"


class PicturePair(NamedTuple):
    """A colour picture and its sketch, as large as the archive has them."""

    colour: Image.Image
    """RGB, composited on white."""
    sketch: Image.Image
    """RGB, composited on white: on paper of any tint, also in light on dark."""
    sketch_alpha: Image.Image | None = None
    """Mode L, 255 = opaque; None for a sketch without transparency."""


@dataclass(kw_only=True, slots=True)
class MemberHashes:
    """SHA-256 of each member of a pair that was read, in hexadecimal; empty until then."""

    sha256: str = ""
    sketch_sha256: str = ""


def read_pictures(
    archive: zipfile.ZipFile,
    pair: ListedPair,
    rules: PairRules,
    decode: Decode,
    hashes: MemberHashes,
) -> PicturePair:
    """Read a pair's one or two members, once each, and decode them; fill in ``hashes``.

    Raises :class:`RejectedError` or :class:`PictureError`.
    """
    data = _read_member(archive, pair.member, rules.max_picture_pixels)
    hashes.sha256 = hashlib.sha256(data).hexdigest()
    if pair.sketch_member is None:
        return _split_picture(decode(data), rules.sketch_side)
    sketch_data = _read_member(archive, pair.sketch_member, rules.max_picture_pixels)
    hashes.sketch_sha256 = hashlib.sha256(sketch_data).hexdigest()
    colour = decode(data).rgb
    try:
        sketch = decode(sketch_data)
    except PictureError as error:
        raise RejectedError(f"sketch {error}") from None
    return PicturePair(colour, sketch.rgb, sketch.alpha)


def _read_member(archive: zipfile.ZipFile, member: Member, max_pixels: int) -> bytes:
    info = archive.infolist()[member.position]
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise RejectedError("no plain file: a link or a device, which is not followed")
    max_bytes = max_pixels * MAX_BYTES_PER_PIXEL + MAX_HEADER_BYTES
    if info.file_size > max_bytes:
        raise RejectedError(
            f"too large: a file of {info.file_size} bytes, at most {max_bytes} are read"
        )
    try:
        return archive.read(info)  # checks the member's CRC-32
    except Exception as error:
        if not is_damage(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RejectedError(f"damaged in the archive: {reason}") from None


def _split_picture(decoded: Decoded, sketch_side: SketchSide | None) -> PicturePair:
    width, height = decoded.rgb.size
    if width % 2:
        raise RejectedError(f"odd width: {width}×{height} px can't be halved")
    left, right = (0, 0, width // 2, height), (width // 2, 0, width, height)
    colour, sketch = (left, right) if sketch_side == "right" else (right, left)
    alpha = decoded.alpha.crop(sketch) if decoded.alpha is not None else None
    return PicturePair(decoded.rgb.crop(colour), decoded.rgb.crop(sketch), alpha)
