"""Why a pair is rejected: shapes that don't fit, a coloured sketch, pictures that show nothing."""

import numpy as np
from PIL import Image

from colorizer.pictures.squares import fit_square
from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.reading import PicturePair, RejectedError

MIN_SIDE_PX = 8
MAX_ASPECT = 4.0
"""Longer over shorter side; a longer picture would be mostly padding."""
MAX_ASPECT_DIFFERENCE = 0.02
"""Of colour picture and sketch from two folders, relative."""
CLEAR_CHROMA = 8.0
"""Mean of max − min of RGB (0..255) above which a picture is clearly coloured."""
MAX_CHROMA_SHARE = 0.5
"""A sketch may have this share of its colour picture's chroma: paper tint, blue pencil."""
MIN_CONTRAST = 8
"""Largest minus smallest level (0..255) of a channel below which a picture shows nothing."""
CHROMA_PX = 64
"""Largest side at which chroma is measured."""


def check_shapes(pictures: PicturePair) -> None:
    """Raise :class:`RejectedError` for pictures too small, too long, or of different shapes."""
    aspects = []
    for picture in pictures:
        width, height = picture.size
        if min(picture.size) < MIN_SIDE_PX:
            raise RejectedError(
                f"too small: a half is {width}×{height} px, at least {MIN_SIDE_PX} are needed"
            )
        if max(picture.size) > MAX_ASPECT * min(picture.size):
            raise RejectedError(f"too long: a half is {width}×{height} px")
        aspects.append(width / height)
    if abs(aspects[0] / aspects[1] - 1) > MAX_ASPECT_DIFFERENCE:
        (width, height), (sketch_width, sketch_height) = (each.size for each in pictures)
        raise RejectedError(
            f"shapes differ: colour {width}×{height} px, sketch {sketch_width}×{sketch_height} px"
        )


def check_chroma(pictures: PicturePair) -> None:
    """Raise :class:`RejectedError` for a sketch that is coloured, compared with its picture."""
    colour, sketch = (mean_chroma(picture) for picture in pictures)
    if sketch > CLEAR_CHROMA and sketch > MAX_CHROMA_SHARE * colour:
        raise RejectedError(
            f"sketch half is coloured: mean chroma {sketch:.1f}, the colour half's {colour:.1f}"
        )


def check_content(pictures: PicturePair, packed: UInt8Array) -> None:
    """Raise :class:`RejectedError` for a blank picture, or for one picture twice."""
    for name, picture in zip(("colour", "sketch"), pictures, strict=True):
        extrema = picture.getextrema()
        if all(high - low < MIN_CONTRAST for low, high in extrema):  # type: ignore[misc]
            raise RejectedError(f"blank {name} half")
    # reduced as the colour picture was: sketches are reduced by another filter
    sketch, _ = fit_square(pictures.sketch.convert("L"), len(packed))
    if (packed[..., COLOUR] == sketch[..., None]).all():
        raise RejectedError("both halves are the same picture")


def mean_chroma(picture: Image.Image) -> float:
    """Mean of max − min of RGB (0..255); averaged first, so that coding noise doesn't count."""
    if max(picture.size) > CHROMA_PX:
        picture = picture.resize((CHROMA_PX, CHROMA_PX), Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(picture), -1, 0)
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    return float((high - low).mean())
