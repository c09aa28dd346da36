"""Why a pair is rejected: shapes that don't fit, a coloured sketch, pictures that show nothing."""

import numpy as np

from colorizer.pictures.paper import look_at
from colorizer.pictures.sketch import Sketch
from colorizer.pictures.squares import fit_square
from pipeline_steps.pairs.packed import COLOUR, UInt8Array
from pipeline_steps.prepare.reading import PicturePair, RejectedError

MIN_SIDE_PX = 8
MAX_ASPECT = 4.0
"""Longer over shorter side; a longer picture would be mostly padding."""
MAX_ASPECT_DIFFERENCE = 0.02
"""Of colour picture and sketch from two folders, relative."""
MAX_CHROMA_SHARE = 0.8
"""Where a sketch is painted in colours, it may have this share of its colour picture's chroma."""
MIN_CONTRAST = 8
"""Largest minus smallest level (0..255) of a channel below which a picture shows nothing."""


def check_shapes(pictures: PicturePair) -> None:
    """Raise :class:`RejectedError` for pictures too small, too long, or of different shapes."""
    aspects = []
    for picture in (pictures.colour, pictures.sketch):
        width, height = picture.size
        if min(picture.size) < MIN_SIDE_PX:
            raise RejectedError(
                f"too small: a half is {width}×{height} px, at least {MIN_SIDE_PX} are needed"
            )
        if max(picture.size) > MAX_ASPECT * min(picture.size):
            raise RejectedError(f"too long: a half is {width}×{height} px")
        aspects.append(width / height)
    if abs(aspects[0] / aspects[1] - 1) > MAX_ASPECT_DIFFERENCE:
        (width, height), (sketch_width, sketch_height) = (each.size for each in pictures[:2])
        raise RejectedError(
            f"shapes differ: colour {width}×{height} px, sketch {sketch_width}×{sketch_height} px"
        )


def check_chroma(pictures: PicturePair, sketch: Sketch) -> None:
    """Raise :class:`RejectedError` for a sketch painted in colours, compared with its picture.

    Chroma is relative to the paper and without lines, so neither tinted paper nor coloured pencils
    count. ``sketch`` is made of the pair's.
    """
    if not sketch.is_coloured:
        return
    chroma, sketch_chroma = (look_at(picture).mean_chroma for picture in pictures[:2])
    if sketch_chroma > MAX_CHROMA_SHARE * chroma:
        raise RejectedError(
            f"sketch half is coloured: mean chroma {sketch_chroma:.1f},"
            f" the colour half's {chroma:.1f}"
        )


def check_content(pictures: PicturePair, packed: UInt8Array) -> None:
    """Raise :class:`RejectedError` for a blank picture, or for one picture twice."""
    for name, picture in zip(("colour", "sketch"), pictures[:2], strict=True):
        # one channel after another: the first shows something in most pictures
        extrema = (picture.getchannel(channel).getextrema() for channel in picture.getbands())
        if all(high - low < MIN_CONTRAST for low, high in extrema):  # type: ignore[operator]
            raise RejectedError(f"blank {name} half")
    red, green, blue = np.moveaxis(packed[..., COLOUR], -1, 0)
    if (red == green).all() and (green == blue).all():
        # reduced as the colour picture was: sketches are reduced by another filter
        sketch, _ = fit_square(pictures.sketch.convert("L"), len(packed))
        if (red == sketch).all():
            raise RejectedError("both halves are the same picture")
