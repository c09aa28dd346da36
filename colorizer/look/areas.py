"""Which areas of a coloured sketch are coloured, and which are skin.

Decided for areas that lines enclose, not for pixels: a paper with a faint, uneven tint stays paper,
and a pale region moves as one. Strong colours count by themselves.

Skin is what has the colours of skin: CIELAB hue 20° to 80°, chroma 8 to 45, lightness from 25. So
hair, wood and leather that are beige or brown count as well.

Shape legend: N colours; h×w pixels of a reduced picture; 3 = L*, a*, b* of CIELAB under D65.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from colorizer.look.colour_table import measure_colours, to_lab
from colorizer.look.upscaling import diffuse, spread_colours
from colorizer.pictures.squares import reduced_size

Float32Array = npt.NDArray[np.float32]

REDUCED_SIDE_PX = 128
NUM_SPREADS = 150
"""Diffusion steps: areas are averaged over about a tenth of the picture's side."""
FAINT_CHROMAS = (5.0, 10.0)
"""Below, a pixel is neutral; above, it counts as coloured where its area does."""
STRONG_CHROMAS = (18.0, 28.0)
"""Above, a pixel counts as coloured wherever it is."""
COLOURED_SHARES, SKIN_SHARES = (0.3, 0.6), (0.35, 0.6)
"""An area with a smaller share of such pixels is none; one with a larger share is one wholly."""
PALE_CHROMA = 3.0
"""How much more chroma white needs: cream paper is paper."""
PALE_LIGHTNESS, WHITE_LIGHTNESS = 88.0, 98.0
SKIN_HUES_DEG, SOFT_HUE_DEG = (20.0, 80.0), 8.0
SKIN_CHROMAS, SOFT_CHROMA = (8.0, 45.0), 4.0
MIN_SKIN_LIGHTNESS, SOFT_LIGHTNESS = 25.0, 5.0
"""The soft values are half the width of the transition at each limit."""


class Areas(NamedTuple):
    """Shares in 0..1 of a reduced picture's pixels."""

    lab: Float32Array
    """h×w×3: the reduced picture."""
    coloured: Float32Array
    """h×w: 1 in a coloured area."""
    skin: Float32Array
    """h×w: 1 in an area of skin."""

    @property
    def weights(self) -> Float32Array:
        """h·w: how much each pixel counts as a colour that isn't skin."""
        lab = self.lab.reshape(-1, 3)
        coloured = np.maximum(self.coloured.ravel(), _strength(lab))
        return faintness(lab) * coloured * (1 - self.skin.ravel())


def find_areas(picture: Image.Image, lines: Image.Image, *, skin: bool) -> Areas:
    """The areas of an RGB picture between ``lines`` (mode L, of its size); without ``skin``, none.

    Areas end at dark lines; where these are open, at about a tenth of the picture's side.
    """
    size = reduced_size(picture.size, REDUCED_SIDE_PX)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BOX))
    flat = to_lab(pixels.reshape(-1, 3))
    lab = flat.reshape(*pixels.shape)
    levels = np.asarray(lines.resize(size, Image.Resampling.BOX), np.float32)
    paper: Float32Array = levels / np.float32(255)
    is_coloured = faintness(flat).reshape(pixels.shape[:2])
    is_skin = is_coloured * skin_share(flat).reshape(is_coloured.shape) * skin
    average = np.stack([is_coloured, is_skin])
    diffuse(average, np.square(np.square(paper)), NUM_SPREADS)
    skin_of_coloured = average[1] / np.maximum(average[0], 1e-3)
    return Areas(
        lab, smooth_step(average[0], *COLOURED_SHARES), smooth_step(skin_of_coloured, *SKIN_SHARES)
    )


def movable(picture: Image.Image, lines: Image.Image, areas: Areas) -> Image.Image:
    """A mask of the picture's size: 255 where a colour may be replaced, 0 on paper and skin."""
    shares = np.stack([areas.coloured, areas.skin, np.zeros_like(areas.skin)], -1)
    spread = spread_colours((255 * shares).round().astype(np.uint8), lines)
    coloured, skin, _ = spread.split()
    mask = ImageChops.lighter(coloured, measure_colours(picture, _strength))
    if not areas.skin.any():
        return mask
    skin = ImageChops.darker(skin, measure_colours(picture, _may_be_skin))
    return ImageChops.multiply(mask, ImageChops.invert(skin))


def faintness(lab: Float32Array) -> Float32Array:
    """N×3 → N in 0..1: 0 is neutral, 1 has at least a faint colour."""
    whiteness = smooth_step(lab[:, 0], PALE_LIGHTNESS, WHITE_LIGHTNESS)
    return smooth_step(_chroma(lab) - PALE_CHROMA * whiteness, *FAINT_CHROMAS)


def skin_share(lab: Float32Array) -> Float32Array:
    """N×3 → N in 0..1: 1 has a colour of skin."""
    share = _between(_hue_deg(lab), *SKIN_HUES_DEG, SOFT_HUE_DEG)
    share = share * _between(_chroma(lab), *SKIN_CHROMAS, SOFT_CHROMA)
    return share * _between(lab[:, 0], MIN_SKIN_LIGHTNESS, np.inf, SOFT_LIGHTNESS)


def smooth_step(values: Float32Array, low: float, high: float) -> Float32Array:
    """0 up to ``low``, 1 from ``high`` on, with a smooth rise between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _strength(lab: Float32Array) -> Float32Array:
    return smooth_step(_chroma(lab), *STRONG_CHROMAS)


def _may_be_skin(lab: Float32Array) -> Float32Array:
    """In an area of skin: shadows, blush and faint colours too, but no eyes and no ribbon."""
    low, high = SKIN_HUES_DEG
    near = _between(_hue_deg(lab), low - 25, high + 20, SOFT_HUE_DEG)
    near = near * (1 - smooth_step(_chroma(lab), SKIN_CHROMAS[1], 1.5 * SKIN_CHROMAS[1]))
    return np.maximum(near, 1 - smooth_step(_chroma(lab), 12, 18))


def _chroma(lab: Float32Array) -> Float32Array:
    return np.asarray(np.hypot(lab[:, 1], lab[:, 2]), np.float32)


def _hue_deg(lab: Float32Array) -> Float32Array:
    """−180 to 180."""
    return np.asarray(np.degrees(np.arctan2(lab[:, 2], lab[:, 1])), np.float32)


def _between(values: Float32Array, low: float, high: float, soft: float) -> Float32Array:
    rise = np.clip((values - low) / (2 * soft) + 0.5, 0, 1)
    fall = np.clip((high - values) / (2 * soft) + 0.5, 0, 1)
    return np.asarray(rise * fall, np.float32)
