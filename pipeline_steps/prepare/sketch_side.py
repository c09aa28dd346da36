"""Which half of the side-by-side pictures is the sketch: the half with less paint.

Paint is chroma relative to the paper and without lines, so tinted paper and coloured pencils don't
count.
"""

import zipfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.paper import look_at
from pipeline_steps.base.errors import DataError
from pipeline_steps.prepare.checks import check_shapes
from pipeline_steps.prepare.pairing import Listing
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


def find_sketch_side(
    archive: zipfile.ZipFile, listing: Listing, sketch_side: str, max_picture_pixels: int
) -> SketchSide | None:
    """The side that ``sketch_side`` names, or for ``auto`` the less painted one.

    None where no picture holds both halves. For ``auto`` the mean chroma of both halves is compared
    in the first ``NUM_SAMPLES`` readable pictures: raises :class:`DataError` unless a quarter of
    them differ clearly, and four fifths of these agree.
    """
    side_by_side = [pair for pair in listing.pairs if pair.sketch_member is None]
    if not side_by_side:
        return None
    if sketch_side != "auto":
        return "left" if sketch_side == "left" else "right"
    rules = PairRules(image_size=1, sketch_side="right", max_picture_pixels=max_picture_pixels)
    num_samples, clear_differences = 0, []
    with DecoderProcess(max_pixels=max_picture_pixels) as decoder:
        for number in _evenly_spread(len(side_by_side)):
            pair = side_by_side[number]
            try:
                pictures = read_pictures(
                    archive, pair, rules, decoder.open_with_alpha, MemberHashes()
                )
                check_shapes(pictures)
            except (RejectedError, PictureError):
                continue
            num_samples += 1
            left, right = (look_at(picture).mean_chroma for picture in pictures[:2])
            difference = left - right
            if abs(difference) > CLEAR_CHROMA:
                clear_differences.append(difference)
            if num_samples == NUM_SAMPLES:
                break
    return _decide_side(num_samples, np.array(clear_differences))


def _decide_side(num_samples: int, clear_differences: npt.NDArray[np.float64]) -> SketchSide:
    """``clear_differences`` are the left half's chroma minus the right half's."""
    if not num_samples:
        raise DataError(
            "no readable side-by-side picture to find the sketch's side in;"
            " see data/raw/source.json for the source of the pairs"
        )
    num_clear = len(clear_differences)
    num_right = int((clear_differences > 0).sum())
    most = max(num_right, num_clear - num_right)
    if num_clear < max(1, MIN_CLEAR_SHARE * num_samples) or most < MIN_AGREEMENT * num_clear:
        raise DataError(
            f"can't decide which half is the sketch: of {num_samples} pictures the left half is"
            f" greyer in {num_clear - num_right}, the right in {num_right}, neither clearly in"
            f" {num_samples - num_clear}; set prepare.sketch_side to left or right"
        )
    return "right" if num_right == most else "left"


def _evenly_spread(num_items: int) -> Iterator[int]:
    """Yield 0..N−1 in an order whose first few are spread evenly already."""
    # a stride near N over the golden ratio, prime to N, never bunches
    stride = next(
        stride
        for stride in range(max(1, int(num_items * 0.618)), num_items + 1)
        if np.gcd(stride, num_items) == 1
    )
    return (step * stride % num_items for step in range(num_items))
