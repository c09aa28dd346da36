"""Makes a picture obey its hints where the generator's pixels are too coarse.

What a colour lacks at a hint is added there, and less and less around it.

Shape legend: H×W pixels, C planes. Ink is grey 0, paper 255.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.pixels import to_pixel_range
from colorizer.hints.barriers import MIN_PAPER
from colorizer.hints.model_input import fit_layer
from colorizer.look.upscaling import diffuse
from colorizer.pictures.squares import Placement

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

LONGEST_SIDE_PX = 1024
"""At which a whole picture is corrected."""
NUM_STEPS = 48
"""Pixels that a correction reaches there. The generator has seen to the rest of the region."""
LEAST = np.float32(1e-30)
"""Of a hint: where less arrives, it is none."""


def obey(picture: Image.Image, grey: Image.Image, layer: Image.Image) -> Image.Image:
    """Correct an RGB picture by its layer of hints (RGBA) and its sketch (L), all of one size."""
    scale = min(1.0, LONGEST_SIDE_PX / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    whole = Placement(0, 0, width, height)
    hints = fit_layer(layer, whole, max(width, height))[:, :height, :width]
    small = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
    lines = np.asarray(grey.resize((width, height), Image.Resampling.BOX))
    changed = correct(small, lines, hints)
    if scale == 1:
        return Image.fromarray(changed)
    return _add_change(picture, changed.astype(np.int16) - small)


def correct(colour: UInt8Array, grey: UInt8Array, hints: Float32Array) -> UInt8Array:
    """H×W×3 with the hints' colours at hints, and what they lack there, fading, around them.

    ``grey``: the sketch, H×W. ``hints``: 4×H×W, colours in −1..1 times mask, then the mask in 0..1.
    """
    rows, columns = np.nonzero(hints[3])
    if not len(rows):
        return colour
    part = _grown(rows), _grown(columns)  # nothing reaches farther
    corrected = colour.copy()
    corrected[part] = _correct(colour[part], grey[part], hints[:, part[0], part[1]])
    return corrected


def _grown(places: npt.NDArray[np.intp]) -> slice:
    return slice(max(0, int(places.min()) - NUM_STEPS), int(places.max()) + NUM_STEPS + 1)


def _correct(colour: UInt8Array, grey: UInt8Array, hints: Float32Array) -> UInt8Array:
    is_given = hints[3] > 0
    planes = np.moveaxis(colour, -1, 0).astype(np.float32)
    wanted = to_pixel_range(hints[:3] / np.maximum(hints[3], LEAST))
    arrived = np.concatenate([(wanted - planes) * is_given, is_given[None]], dtype=np.float32)
    diffuse(arrived, (grey >= MIN_PAPER).astype(np.float32), NUM_STEPS)
    share = np.maximum(arrived[3], LEAST)
    # the logarithm falls with the square of the distance
    nearness = np.log10(share / LEAST) / -np.log10(LEAST)
    changed = np.where(is_given, wanted, planes + arrived[:3] / share * nearness)
    return np.moveaxis(changed.round().clip(0, 255).astype(np.uint8), 0, -1)


def _add_change(picture: Image.Image, change: npt.NDArray[np.int16]) -> Image.Image:
    """A picture plus a change of a smaller size, h×w×3."""
    channels = []
    for number, channel in enumerate(picture.split()):
        plane = Image.fromarray(change[..., number].astype(np.float32))
        enlarged = np.asarray(plane.resize(picture.size, Image.Resampling.BILINEAR))
        total = np.asarray(channel) + enlarged
        channels.append(Image.fromarray(total.round().clip(0, 255).astype(np.uint8)))
    return Image.merge("RGB", channels)
