"""Which half of the side-by-side pictures is the sketch: the half with less paint.

Paint is chroma relative to the paper and without lines, so tinted paper and coloured pencils don't
count.
"""

import zipfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.paper import look_at
from pipeline_steps.base.errors import DataError
from pipeline_steps.prepare.checks import check_shapes
from pipeline_steps.prepare.pairing import ListedPair, Listing
from pipeline_steps.prepare.reading import (
    MemberHashes,
    PairRules,
    RejectedError,
    SketchSide,
    read_pictures,
)

NUM_SAMPLES = 64
"""Pictures examined, spread evenly over the archive."""
CLEAR_CHROMA = 8.0
"""Mean of max − min of RGB (0..255) by which one half is clearly more painted than the other."""
MIN_CLEAR_SHARE = 0.25
MIN_AGREEMENT = 0.8
MAX_REASONS = 3
MIN_ASPECT_OF_TWO = 1.5
"""Width over height from which a picture may be two side by side."""
FOLDER_ADVICE = (
    "name these colour and sketch, and give the two files of a pair one name:"
    " colour/1.png, sketch/1.png"
)


def find_sketch_side(
    archive: zipfile.ZipFile, listing: Listing, sketch_side: str, max_picture_pixels: int
) -> SketchSide | None:
    """The side that ``sketch_side`` names, or for ``auto`` the less painted one.

    None where no picture holds both halves. For ``auto`` the mean chroma of both halves is compared
    in the first ``NUM_SAMPLES`` readable pictures: raises :class:`DataError` unless a quarter of
    them differ clearly, and four fifths of these agree.
    """
    side_by_side = _numbers(listing, is_apart=False)
    if not side_by_side:
        return None
    if sketch_side != "auto":
        return "left" if sketch_side == "left" else "right"
    samples = _sample(archive, listing.pairs, side_by_side, max_picture_pixels)
    if not samples.colour_chroma:
        raise DataError(
            f"no picture to find the sketch's side in: {samples.reasons_words()};"
            " see data/raw/source.json for the source of the pairs"
        )
    difference = samples.clear_differences()
    num_clear, num_right = len(difference), int((difference > 0).sum())
    most = max(num_right, num_clear - num_right)
    num_samples = len(samples.colour_chroma)
    if num_clear < max(1, MIN_CLEAR_SHARE * num_samples) or most < MIN_AGREEMENT * num_clear:
        raise DataError(
            f"can't decide which half is the sketch: of {num_samples} pictures the left half is"
            f" greyer in {num_clear - num_right}, the right in {num_right}, neither clearly in"
            f" {num_samples - num_clear}; if each is a colour picture beside its sketch, set"
            f" prepare.sketch_side to left or right; if these are in two folders, {FOLDER_ADVICE}"
        )
    return "right" if num_right == most else "left"


def look_for_sketches(
    archive: zipfile.ZipFile, listing: Listing, max_picture_pixels: int
) -> Literal["sketches", "exchanged", "side by side", "unclear"]:
    """Whether what a listing takes for the sketches of two folders are sketches, by the pictures.

    They are if most are without paint, and clearly less painted than their colour pictures. Wide
    pictures that aren't may be colour pictures and sketches side by side.
    """
    apart = _numbers(listing, is_apart=True)
    samples = _sample(archive, listing.pairs, apart, max_picture_pixels)
    difference = samples.clear_differences()
    num_sketches = int((difference > 0).sum())
    for result, num_agreeing, chroma in (
        ("sketches", num_sketches, samples.sketch_chroma),
        ("exchanged", len(difference) - num_sketches, samples.colour_chroma),
    ):
        if (
            num_agreeing >= max(1, MIN_CLEAR_SHARE * len(chroma), MIN_AGREEMENT * len(difference))
            and np.mean(np.array(chroma) <= CLEAR_CHROMA) >= MIN_AGREEMENT
        ):
            return result  # type: ignore[return-value]
    aspects = samples.aspects
    return "side by side" if aspects and np.median(aspects) >= MIN_ASPECT_OF_TWO else "unclear"


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """What was measured of some pairs, and why others couldn't be."""

    colour_chroma: list[float]
    sketch_chroma: list[float]
    aspects: list[float]
    """Width over height of the colour pictures."""
    reasons: Counter[str]

    def clear_differences(self) -> npt.NDArray[np.float64]:
        """The colour pictures' chroma minus the sketches', where they differ clearly."""
        difference = np.array(self.colour_chroma) - np.array(self.sketch_chroma)
        clear: npt.NDArray[np.float64] = difference[np.abs(difference) > CLEAR_CHROMA]
        return clear

    def reasons_words(self) -> str:
        most = self.reasons.most_common(MAX_REASONS)
        return "; ".join(f"{count} × {reason}" for reason, count in most) or "there is none"


def _numbers(listing: Listing, *, is_apart: bool) -> Sequence[int]:
    """The pairs whose halves are two members, or one."""
    pairs = enumerate(listing.pairs)
    return array("q", (k for k, pair in pairs if (pair.sketch_member is not None) == is_apart))


def _sample(
    archive: zipfile.ZipFile,
    pairs: Sequence[ListedPair],
    numbers: Sequence[int],
    max_picture_pixels: int,
) -> _Samples:
    """Measure the chroma of ``NUM_SAMPLES`` readable pairs of ``numbers``, evenly spread."""
    rules = PairRules(image_size=1, sketch_side="right", max_picture_pixels=max_picture_pixels)
    samples = _Samples(colour_chroma=[], sketch_chroma=[], aspects=[], reasons=Counter())
    if not numbers:
        return samples
    with DecoderProcess(max_pixels=max_picture_pixels) as decoder:
        for place in _evenly_spread(len(numbers)):
            try:
                pictures = read_pictures(
                    archive, pairs[numbers[place]], rules, decoder.open_with_alpha, MemberHashes()
                )
                check_shapes(pictures)
            except (RejectedError, PictureError) as error:
                samples.reasons[str(error)] += 1
                continue
            samples.colour_chroma.append(look_at(pictures.colour).mean_chroma)
            samples.sketch_chroma.append(look_at(pictures.sketch).mean_chroma)
            samples.aspects.append(pictures.colour.width / pictures.colour.height)
            if len(samples.colour_chroma) == NUM_SAMPLES:
                break
    return samples


def _evenly_spread(num_items: int) -> Iterator[int]:
    """Yield 0..N−1 in an order whose first few are spread evenly already."""
    # a stride near N over the golden ratio, prime to N, never bunches
    stride = next(
        stride
        for stride in range(max(1, int(num_items * 0.618)), num_items + 1)
        if np.gcd(stride, num_items) == 1
    )
    return (step * stride % num_items for step in range(num_items))
