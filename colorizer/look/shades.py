"""The shades of one colour: lighter and darker, inside sRGB."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from colorizer.look.colour_table import to_rgb

Float32Array = npt.NDArray[np.float32]

MAX_DIFFERENCE = 26.0
"""In L*: how far the darkest and the lightest shade are from the colour."""
CHROMA_LOSS = 0.15
"""The share of its chroma that these two lose."""
NUM_SHADES = 801
"""One for each eighth of L*, finer than a level of 255."""
NUM_HALVINGS = 8
"""Bisection finds the last shade inside sRGB to 1/256 of its way."""
ROUNDING = 0.5
"""In levels of 255."""


class Shades(NamedTuple):
    """A colour's shades by the lightness of what it replaces."""

    lab: Float32Array
    """S×3, CIELAB under D65: from lightness 0 to 100 of the original."""

    def at(self, lightness: Float32Array) -> Float32Array:
        """N lightnesses of the original → N×3."""
        last = len(self.lab) - 1
        steps = (lightness * (last / 100)).round().astype(np.intp)
        return np.asarray(self.lab[steps.clip(0, last)], np.float32)


def make_shades(colour: Float32Array, middle: float) -> Shades:
    """The shades of ``colour`` (L*, a*, b*, inside sRGB) for a region of mean lightness ``middle``.

    Where the region has this lightness, it gets the very colour. Differences are kept, compressed
    to ``MAX_DIFFERENCE``, and less where sRGB has no such shade.
    """
    lightness = np.linspace(0, 100, NUM_SHADES, dtype=np.float32)
    change = np.tanh((lightness - middle) / MAX_DIFFERENCE)
    wished = np.stack([np.full_like(lightness, value) for value in colour], 1)
    wished[:, 0] += change * MAX_DIFFERENCE
    wished[:, 1:] *= (1 - CHROMA_LOSS * np.abs(change))[:, None]
    return Shades(_inside_srgb(wished, colour))


def _inside_srgb(wished: Float32Array, colour: Float32Array) -> Float32Array:
    """The point nearest to each wished one on its line to ``colour``, by bisection."""
    inside, outside = np.zeros(len(wished), np.float32), np.ones(len(wished), np.float32)
    way = wished - colour
    inside[_is_inside(wished)] = 1
    for _ in range(NUM_HALVINGS):
        share = (inside + outside) / 2
        fits = _is_inside(colour + share[:, None] * way)
        inside, outside = np.where(fits, share, inside), np.where(fits, outside, share)
    return np.asarray(colour + inside[:, None] * way, np.float32)


def _is_inside(lab: Float32Array) -> npt.NDArray[np.bool_]:
    rgb = to_rgb(lab)
    return np.asarray(((rgb >= -ROUNDING) & (rgb <= 255 + ROUNDING)).all(1))
