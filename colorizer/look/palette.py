"""Recolouring a coloured picture: by a reference picture, or by given colours.

Only a and b of CIELAB change; lightness stays, and so does shading. A reference gives its mean and
standard deviation of a and b (Reinhard et al., Color Transfer between Images, 2001). For given
colours, the picture's main colours are found by k-means, each is matched to a given one, and pixels
move with the main colours near them.
"""

import re
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorizer.base.cielab import from_lab_picture, to_lab_picture
from colorizer.base.errors import PictureError

Float32Array = npt.NDArray[np.float32]

MAX_COLOURS = 6
SAMPLE_SIDE_PX = 96
BAND_ROWS = 256
MIN_CHROMA = 6.0
"""In CIELAB units; a pixel with less counts as paper."""
SOFTNESS = 12.0
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""


def parse_colours(text: str) -> list[Colour]:
    """``"#ff8800,2244aa"`` → RGB triples 0..255. Raises :class:`PictureError` for anything else."""
    found = [_HEX.fullmatch(part.strip()) for part in text.split(",")]
    if not 1 <= len(found) <= MAX_COLOURS or None in found:
        raise PictureError(f"palette must be 1 to {MAX_COLOURS} colours like #ff8800,#2244aa")
    digits = [match.group(1) for match in found if match]
    return [(int(d[:2], 16), int(d[2:4], 16), int(d[4:], 16)) for d in digits]


def find_main_colours(picture: Image.Image, count: int) -> list[Colour]:
    """Up to ``count`` main colours of an RGB picture, the most frequent first.

    Paper and grey don't count. Raises :class:`ValueError` for a count that isn't 1 to 6.
    """
    if not 1 <= count <= MAX_COLOURS:
        raise ValueError(f"count must be 1 to {MAX_COLOURS}, got {count}")
    sample = _sample(picture)
    chroma, pixels = _chroma(sample), np.asarray(sample).reshape(-1, 3)
    is_coloured = np.linalg.norm(chroma, axis=1) > MIN_CHROMA
    chroma, pixels = chroma[is_coloured], pixels[is_coloured]
    if len(chroma) < count:
        return []
    nearest = _nearest(chroma, _main_colours(chroma, count))
    groups = [pixels[nearest == number] for number in range(count)]
    groups = sorted((group for group in groups if len(group)), key=len, reverse=True)
    means = (group.mean(0).round().astype(int).tolist() for group in groups)
    return [(red, green, blue) for red, green, blue in means]


def recolour_like(colour: Image.Image, reference: Image.Image) -> Image.Image:
    """Give an RGB picture the hues and saturation of another RGB picture."""
    source, target = _chroma(_sample(colour)), _chroma(_sample(reference))
    source_mean, source_spread = source.mean(0), source.std(0)
    scale = np.clip(target.std(0) / np.maximum(source_spread, 1.0), 0.2, 3.0)
    target_mean = target.mean(0)
    return _map_chroma(colour, lambda ab: (ab - source_mean) * scale + target_mean)


def recolour_with(colour: Image.Image, palette: Sequence[Colour]) -> Image.Image:
    """Replace an RGB picture's main colours by given ones; paper stays."""
    row = Image.new("RGB", (len(palette), 1))
    row.putdata(list(palette))
    wanted = _chroma(row)
    coloured = _chroma(_sample(colour))
    coloured = coloured[np.linalg.norm(coloured, axis=1) > MIN_CHROMA]
    if len(coloured) < len(palette):
        return colour.copy()
    centres = _main_colours(coloured, len(palette))
    shifts = wanted[_match(centres, wanted)] - centres
    # paper is an anchor that doesn't move
    anchors = np.concatenate([centres, np.zeros((1, 2), np.float32)])
    moves = np.concatenate([shifts, np.zeros((1, 2), np.float32)])

    def move(ab: Float32Array) -> Float32Array:
        distance = np.linalg.norm(ab[:, None] - anchors, axis=2)
        nearness = np.exp(-(distance - distance.min(1, keepdims=True)) / SOFTNESS)
        return np.asarray(ab + nearness @ moves / nearness.sum(1, keepdims=True), np.float32)

    return _map_chroma(colour, move)


def _main_colours(points: Float32Array, count: int) -> Float32Array:
    """k-means, started at points far from each other, so that it is deterministic."""
    centres = [points[np.linalg.norm(points, axis=1).argmax()]]
    while len(centres) < count:
        distances = np.min([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=0)
        centres.append(points[distances.argmax()])
    found = np.stack(centres)
    for _ in range(12):
        nearest = _nearest(points, found)
        for number in range(count):
            if (members := points[nearest == number]).size:
                found[number] = members.mean(0)
    return found


def _nearest(points: Float32Array, centres: Float32Array) -> npt.NDArray[np.intp]:
    nearest: npt.NDArray[np.intp] = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
    return nearest


def _match(centres: Float32Array, wanted: Float32Array) -> list[int]:
    """The wanted colour of each centre: the assignment with the least total distance."""
    distances = np.linalg.norm(centres[:, None] - wanted, axis=2)
    rows = range(len(centres))
    best = min(
        permutations(rows), key=lambda order: float(distances[list(rows), list(order)].sum())
    )
    return list(best)


def _sample(picture: Image.Image) -> Image.Image:
    sample = picture.convert("RGB")
    sample.thumbnail((SAMPLE_SIDE_PX, SAMPLE_SIDE_PX), Image.Resampling.BOX)
    return sample


def _chroma(picture: Image.Image) -> Float32Array:
    """a and b of all pixels, N×2, about −128..127."""
    lab = np.asarray(to_lab_picture(picture))
    # Pillow keeps a and b as signed bytes
    chroma: Float32Array = lab[..., 1:].view(np.int8).reshape(-1, 2).astype(np.float32)
    return chroma


def _map_chroma(
    picture: Image.Image, change: Callable[[Float32Array], Float32Array]
) -> Image.Image:
    result = Image.new("RGB", picture.size)
    # in bands: the float copy of a large picture would be many times its size
    for top in range(0, picture.height, BAND_ROWS):
        box = (0, top, picture.width, min(top + BAND_ROWS, picture.height))
        lab = to_lab_picture(picture.crop(box))
        values = np.array(lab)
        chroma = values[..., 1:].view(np.int8).reshape(-1, 2).astype(np.float32)
        moved = change(chroma).round().clip(-128, 127).astype(np.int8)
        values[..., 1:] = moved.view(np.uint8).reshape(*values.shape[:2], 2)
        band = Image.frombytes("LAB", lab.size, values.tobytes())
        result.paste(from_lab_picture(band), box)
    return result
