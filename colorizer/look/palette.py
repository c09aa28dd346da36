"""Recolouring a coloured picture: by given colours, or by a reference picture.

Paper, greys and ink stay; what has chroma moves, in CIELAB. Given colours: each main colour of the
picture is matched to a given one, which its region takes on, with the region's shades around it.
A reference: lightness stays; a and b get the mean and standard deviation of the reference's
coloured pixels (Reinhard et al., Color Transfer between Images, 2001).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.errors import PaletteError
from colorizer.base.hex_colours import Colour, parse_colour
from colorizer.look.areas import faintness, find_areas, movable, smooth_step
from colorizer.look.colour_clusters import find_clusters, lightness_of, match, to_hue_space
from colorizer.look.colour_table import Change, change_colours, to_lab, to_rgb
from colorizer.look.shades import make_shades
from colorizer.pictures.decoding import WHITE
from colorizer.pictures.squares import reduced_size

Float32Array = npt.NDArray[np.float32]

MAX_COLOURS = 12
SAMPLE_SIDE_PX = 128
MIN_SHARE = 0.002
"""A picture of which less is coloured has no main colours."""
NEUTRAL_CHROMAS = (8.0, 10.5)
"""In a coloured area, a pixel with less chroma stays, and one with more moves wholly."""
CHROMA_SCALES = (0.2, 3.0)
"""The least and the most by which a reference scales saturation."""
MIN_OPACITY = 0.9
"""Of the most opaque pixel: those of a reference with less don't count."""


def join_colours(colours: str | Iterable[str]) -> str:
    """``["#ff8800", "2244aa"]`` → ``"#ff8800,2244aa"``; a text is returned as it is.

    Raises :class:`PaletteError` for what isn't text.
    """
    if isinstance(colours, str):
        return colours
    parts = list(colours) if isinstance(colours, Iterable) else [colours]
    if not all(isinstance(part, str) for part in parts):
        raise _invalid_palette()
    return ",".join(parts)


def parse_colours(text: str) -> list[Colour]:
    """``"#ff8800,2244aa"`` → RGB triples 0..255. Raises :class:`PaletteError` for anything else."""
    found = [parse_colour(part.strip()) for part in text.split(",")]
    colours = [colour for colour in found if colour]
    if not 1 <= len(found) <= MAX_COLOURS or len(colours) < len(found):
        raise _invalid_palette()
    return colours


def find_main_colours(picture: Image.Image, count: int) -> list[Colour]:
    """Up to ``count`` main colours of an RGB or RGBA picture, the most frequent first.

    Paper, grey and what is transparent don't count. Raises :class:`ValueError` for a count that
    isn't 1 to 12.
    """
    if not 1 <= count <= MAX_COLOURS:
        raise ValueError(f"count must be 1 to {MAX_COLOURS}, got {count}")
    pixels = _opaque_pixels(picture)
    weights = faintness(pixels)
    if _is_neutral(weights):
        return []
    points = to_hue_space(pixels)
    clusters = find_clusters(points, weights, count)
    nearest = clusters.nearest(points)
    groups = [weights * (nearest == number) for number in range(len(clusters.shares))]
    means = np.array([np.average(pixels, 0, group) for group in groups], np.float32)
    levels = to_rgb(means).round().clip(0, 255).astype(int).tolist()
    return [(red, green, blue) for red, green, blue in levels]


def has_colours(picture: Image.Image) -> bool:
    """Whether an RGB or RGBA picture has main colours: more than paper, grey and transparency."""
    return not _is_neutral(faintness(_opaque_pixels(picture)))


def recolour_with(
    colour: Image.Image,
    palette: Sequence[Colour],
    *,
    lines: Image.Image | None = None,
    keep_skin: bool = False,
) -> Image.Image:
    """Replace an RGB picture's main colours by given ones; paper and greys stay.

    All given colours are used if the picture has as many. ``lines`` (mode L, of its size) limit the
    picture's areas; ``keep_skin`` leaves out those of skin: see :mod:`~colorizer.look.areas`.
    """
    lines = lines or Image.new("L", colour.size, WHITE)
    areas = find_areas(colour, lines, skin=keep_skin)
    weights = areas.weights
    if _is_neutral(weights):
        return colour.copy()
    given = to_lab(np.array(list(dict.fromkeys(palette))))
    clusters = find_clusters(to_hue_space(areas.lab.reshape(-1, 3)), weights, len(given))
    matched = match(clusters, to_hue_space(given))
    shades = [
        make_shades(given[number], lightness_of(centre))
        for number, centre in zip(matched, clusters.centres, strict=True)
    ]

    def replace(lab: Float32Array) -> Float32Array:
        target = np.zeros_like(lab)
        nearness = clusters.nearness(to_hue_space(lab))
        for share, its_shades in zip(nearness.T, shades, strict=True):
            target += share[:, None] * its_shades.at(lab[:, 0])
        return target

    return _recoloured(colour, replace, movable(colour, lines, areas))


def recolour_like(
    colour: Image.Image,
    reference: Image.Image,
    *,
    lines: Image.Image | None = None,
    keep_skin: bool = False,
) -> Image.Image:
    """Give an RGB picture the hues and saturation of another one; paper and greys stay.

    What is transparent in an RGBA reference doesn't count. A grey reference takes most of the
    saturation away. ``lines`` and ``keep_skin``: as in :func:`recolour_with`.
    """
    lines = lines or Image.new("L", colour.size, WHITE)
    areas = find_areas(colour, lines, skin=keep_skin)
    mean, spread = _chroma_statistics(areas.lab.reshape(-1, 3), areas.weights)
    pixels = _opaque_pixels(reference)
    wanted_mean, wanted_spread = _chroma_statistics(pixels, faintness(pixels))
    scale = np.clip(wanted_spread / np.maximum(spread, 1.0), *CHROMA_SCALES)

    def replace(lab: Float32Array) -> Float32Array:
        target = lab.copy()
        target[:, 1:] = (lab[:, 1:] - mean) * scale + wanted_mean
        return target

    return _recoloured(colour, replace, movable(colour, lines, areas))


def _recoloured(colour: Image.Image, replace: Change, mask: Image.Image) -> Image.Image:
    def change(lab: Float32Array) -> Float32Array:
        share = smooth_step(np.hypot(lab[:, 1], lab[:, 2]), *NEUTRAL_CHROMAS)[:, None]
        return np.asarray(lab + share * (replace(lab) - lab), np.float32)

    return Image.composite(change_colours(colour, change), colour, mask)


def _invalid_palette() -> PaletteError:
    return PaletteError(f"palette must be 1 to {MAX_COLOURS} colours like #ff8800,#2244aa")


def _chroma_statistics(
    pixels: Float32Array, weights: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of a and b of the coloured pixels, or of all if none is."""
    if _is_neutral(weights):
        weights = np.ones_like(weights)
    mean = np.average(pixels[:, 1:], 0, weights)
    spread = np.sqrt(np.average((pixels[:, 1:] - mean) ** 2, 0, weights))
    return mean.astype(np.float32), spread.astype(np.float32)


def _is_neutral(weights: Float32Array) -> bool:
    return bool(weights.sum() <= MIN_SHARE * len(weights))


def _opaque_pixels(picture: Image.Image) -> Float32Array:
    """N×3 CIELAB: a reduced picture's pixels, without those that are transparent."""
    size = reduced_size(picture.size, SAMPLE_SIDE_PX)
    sample = picture.convert("RGB").resize(size, Image.Resampling.BOX)
    pixels = to_lab(np.asarray(sample).reshape(-1, 3))
    if picture.mode != "RGBA":
        return pixels
    alpha = np.asarray(picture.getchannel("A").resize(size, Image.Resampling.BOX)).ravel()
    return np.asarray(pixels[alpha >= max(1, MIN_OPACITY * alpha.max())])
