"""Makes a picture obey its hints: what a colour lacks at a hint is added there and in its region.

The generator takes hints for advice, and sees them at its own size only.

Shape legend: H×W pixels, C planes. Ink is grey 0, paper 255.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.pixels import to_pixel_range
from colorizer.hints.model_input import fit_layer
from colorizer.pictures.squares import Placement

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

FINE_SIDE_PX = 1024
"""The largest side at which a whole picture is corrected."""
FINE_STEPS = 32
"""Pixels that a correction travels there: the rest of the way it went at the model's size."""
LEAST = np.float32(1e-30)
"""Of a hint: where less arrives, it is none."""
FADE_LOG10 = np.float32(6)
"""Powers of ten above ``LEAST`` over which a correction fades out, so that its edge isn't seen."""
MIN_PAPER = 147
"""0..255: colours don't pass what is darker."""


def obey(colour: UInt8Array, grey: UInt8Array, hints: Float32Array, num_steps: int) -> UInt8Array:
    """H×W×3 with the hints' colours at hints, and changed alike in the regions around them.

    ``grey``: the sketch, H×W. ``hints``: 4×H×W, colours in −1..1 times mask, then the mask in 0..1.
    What a colour lacks at its hint spreads by ``num_steps`` pixels, and not over ink.
    """
    is_given = hints[3] > 0
    if not is_given.any():
        return colour
    planes = np.moveaxis(colour, -1, 0).astype(np.float32)
    wanted = to_pixel_range(hints[:3] / np.maximum(hints[3], LEAST))
    lacking = np.concatenate([(wanted - planes) * is_given, is_given[None]], dtype=np.float32)
    arrived = flow(lacking, passable(grey), num_steps)
    share = arrived[3]
    change = arrived[:3] / np.maximum(share, LEAST)
    change *= np.clip(np.log10(np.maximum(share, LEAST) / LEAST) / FADE_LOG10, 0, 1)
    changed = np.where(is_given, wanted, planes + change)
    return np.ascontiguousarray(np.moveaxis(changed.round().clip(0, 255).astype(np.uint8), 0, -1))


def obey_finely(picture: Image.Image, grey: Image.Image, layer: Image.Image) -> Image.Image:
    """The same for a whole picture (RGB), its sketch (L) and its layer of hints (RGBA), of a size.

    For hints that lie in regions too small for the model.
    """
    longest = max(picture.size)
    scale = min(1.0, FINE_SIDE_PX / longest)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    whole = Placement(0, 0, width, height)
    hints = fit_layer(layer, whole, max(width, height))[:, :height, :width]
    small = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
    lines = np.asarray(grey.resize((width, height), Image.Resampling.BOX))
    changed = obey(small, lines, hints, FINE_STEPS)
    if scale == 1:
        return Image.fromarray(changed)
    return _add_change(picture, changed.astype(np.int16) - small)


def _add_change(picture: Image.Image, change: npt.NDArray[np.int16]) -> Image.Image:
    """A picture plus a change of a smaller size, h×w×3."""
    channels = []
    for number, channel in enumerate(picture.split()):
        plane = Image.fromarray(change[..., number].astype(np.float32))
        enlarged = np.asarray(plane.resize(picture.size, Image.Resampling.BILINEAR))
        total = np.asarray(channel) + enlarged
        channels.append(Image.fromarray(total.round().clip(0, 255).astype(np.uint8)))
    return Image.merge("RGB", channels)


def passable(grey: UInt8Array) -> Float32Array:
    """H×W: 1 on paper, 0 on ink, which colours don't pass."""
    return (grey >= MIN_PAPER).astype(np.float32)


def flow(planes: Float32Array, paper: Float32Array, num_steps: int) -> Float32Array:
    """Let C×H×W spread by a pixel a step over ``paper``, H×W of 0 and 1.

    In each step a pixel becomes the mean of itself and its neighbours, along rows, then along
    columns. What comes far arrives weak, so that where several meet the nearest counts most.
    """
    padded = np.pad(planes * paper, ((0, 0), (1, 1), (1, 1)))
    inside = padded[:, 1:-1, 1:-1]
    weights = paper / np.float32(3)
    for _ in range(num_steps):
        inside[:] = (padded[:, 1:-1, :-2] + inside + padded[:, 1:-1, 2:]) * weights
        inside[:] = (padded[:, :-2, 1:-1] + inside + padded[:, 2:, 1:-1]) * weights
    return inside
