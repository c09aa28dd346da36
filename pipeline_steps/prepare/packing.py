"""One listed pair → its packed pair and facts: read, check, resize, join.

Shape legend: S = image size in pixels, square; 4 channels as in ``pairs.packed``.
"""

import zipfile
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import Decoded, open_with_alpha
from colorizer.pictures.sketch import to_sketch
from colorizer.pictures.squares import fit_sketch, fit_square
from pipeline_steps.pairs.packed import UInt8Array, pack
from pipeline_steps.prepare.agreement import (
    MEASURED_PX,
    Agreement,
    Fit,
    measure_agreement,
    objection,
)
from pipeline_steps.prepare.checks import check_chroma, check_content, check_shapes
from pipeline_steps.prepare.colour_statistics import (
    ColourSums,
    decode_sums,
    encode_sums,
    sum_colours,
)
from pipeline_steps.prepare.duplicates import fingerprint
from pipeline_steps.prepare.pairing import ListedPair
from pipeline_steps.prepare.reading import MemberHashes, PairRules, RejectedError, read_pictures
from pipeline_steps.prepare.records import Codec


@dataclass(kw_only=True, slots=True)
class PairFacts(MemberHashes):
    """Facts about a pair that was read; ``reason`` is empty unless it was rejected."""

    width: int | None = None
    height: int | None = None
    reason: str = ""
    sketch_turned: bool | None = None
    """Whether the sketch was in light on dark; None unless it was read."""
    fingerprint: bytes | None = None
    """Equal for pairs with equal pixels; None if the pair was rejected."""
    colours: ColourSums | None = None
    agreement: Agreement | None = None
    """None unless the pair was measured."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of one half, in pixels; 0 unless the pair was read."""
        return self.width or 0, self.height or 0


def pack_pair(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    """Read, check and pack a pair: its facts, and S×S×4 ``uint8`` unless it can't be packed.

    A pair rejected because its halves don't belong together is packed too, to be shown.
    No picture, however broken, makes this raise.
    """
    facts = PairFacts()
    try:
        decode = partial(open_with_alpha, max_pixels=rules.max_picture_pixels)
        pictures = read_pictures(archive, pair, rules, decode, facts)
        facts.width, facts.height = pictures.colour.size
        check_shapes(pictures)
        sketch = to_sketch(Decoded(pictures.sketch, pictures.sketch_alpha))
        facts.sketch_turned = sketch.was_light_on_dark
        check_chroma(pictures, sketch)
        colour, placement = fit_square(pictures.colour, rules.image_size)
        grey, _ = fit_sketch(sketch.grey, rules.image_size)
        packed = pack(colour, grey)
        check_content(pictures, packed)
        if rules.image_size < MEASURED_PX:
            facts.agreement = _measure_enlarged(pictures.colour, sketch.grey)
        else:
            facts.agreement = measure_agreement(packed, placement)
        facts.reason = objection(facts.agreement, rules.pair_checks)
    except (RejectedError, PictureError) as error:
        facts.reason = str(error)
        return facts, None
    except MemoryError:
        facts.reason = "too large: not enough memory"
        return facts, None
    if facts.reason:
        return facts, packed
    facts.fingerprint = fingerprint(pictures.colour, pictures.sketch)
    facts.colours = sum_colours(packed)
    return facts, packed


def _measure_enlarged(colour: Image.Image, sketch: Image.Image) -> Agreement:
    """Packed smaller than this, lines would be lost."""
    square, placement = fit_square(colour, MEASURED_PX)
    return measure_agreement(pack(square, fit_sketch(sketch, MEASURED_PX)[0]), placement)


def _encode(facts: PairFacts) -> list[Any]:
    plain = [getattr(facts, name) for name in _PLAIN]
    fingerprint = facts.fingerprint.hex() if facts.fingerprint else None
    colours = encode_sums(facts.colours) if facts.colours else None
    measures = [getattr(facts.agreement, name) for name in _MEASURES] if facts.agreement else None
    return [*plain, fingerprint, colours, measures]


def _decode(values: list[Any]) -> PairFacts:
    *plain, fingerprint, colours, measures = values
    facts = PairFacts(**dict(zip(_PLAIN, plain, strict=True)))
    if fingerprint:
        facts.fingerprint = bytes.fromhex(fingerprint)
    if colours:
        facts.colours = decode_sums(colours)
    if measures:
        *numbers, best = measures
        facts.agreement = Agreement(**dict(zip(_MEASURES, [*numbers, Fit(*best)], strict=True)))
    return facts


_PLAIN = ("sha256", "sketch_sha256", "width", "height", "reason", "sketch_turned")
_MEASURES = tuple(field.name for field in fields(Agreement))
PAIR_FACTS = Codec(_encode, _decode)
