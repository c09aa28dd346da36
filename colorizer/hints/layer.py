"""The hints of one sketch as a layer: an RGBA picture of its size, opaque where there is a hint.

A layer comes from dots, or from a picture that was painted: with transparency, what is opaque
counts; without, as in a JPEG, what has a colour, so that grey lines and paper don't.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from colorizer.base.errors import HintError, PictureError
from colorizer.hints.hint import MAX_JSON_BYTES, Hint, parse_json, require_few
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS, convert_picture, open_with_alpha

UInt8Array = npt.NDArray[np.uint8]

HintSource: TypeAlias = str | Path | bytes | Image.Image | Sequence[Hint]
JSON_SUFFIX = ".json"
OPAQUE = 128
"""0..255: from here a pixel of a painted picture counts."""
MIN_CHROMA = 40
"""Greatest less least of red, green and blue: an opaque picture's pixels with less are no paint."""


def make_layer(
    hints: HintSource, size: tuple[int, int], *, decoder: DecoderProcess | None = None
) -> Image.Image:
    """Hints of any kind → the layer of a sketch of this width and height.

    ``hints``: dots; or a painted picture, or JSON, as a path (``.json`` says which) or bytes; or a
    picture of Pillow's. With a ``decoder``, files are decoded in its process. Raises
    :class:`HintError` if a hint lies outside the sketch, the picture is of another size or nothing
    is painted in it, and :class:`PictureError` if it can't be read.
    """
    if isinstance(hints, Image.Image):
        is_plain = hints.mode in ("RGB", "RGBA")
        return read_painted(hints if is_plain else convert_picture(hints).with_alpha(), size)
    if isinstance(hints, str | Path):
        path = Path(hints)
        try:
            if path.suffix.lower() == JSON_SUFFIX:
                return draw_dots(parse_json(_read(path), size), size)
            return read_painted(_open(path, decoder), size)
        except PictureError as error:
            raise type(error)(f"{path}: {error}") from None
    if isinstance(hints, bytes):
        if is_json(hints):
            return draw_dots(parse_json(hints, size), size)
        try:
            return read_painted(_open(hints, decoder), size)
        except HintError:
            raise
        except PictureError as error:
            raise PictureError(f"the hints: {error}") from None
    return draw_dots(list(cast("Iterable[Hint]", hints)), size)


def is_json(data: bytes) -> bool:
    """Whether bytes are JSON rather than a picture, by their first sign."""
    return data.removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def _open(source: Path | bytes, decoder: DecoderProcess | None) -> Image.Image:
    if decoder is not None:
        return decoder.open_with_alpha(source).with_alpha()
    return open_with_alpha(source, max_pixels=MAX_SKETCH_PIXELS).with_alpha()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_JSON_BYTES + 1)  # more is refused, whatever its length
    except OSError as error:
        raise HintError(f"can't be read ({error.strerror})") from None


def draw_dots(hints: Sequence[Hint], size: tuple[int, int]) -> Image.Image:
    """Draw dots, later ones over earlier ones, without soft edges.

    Raises :class:`HintError` if there are too many, or one's centre lies outside.
    """
    require_few(len(hints))
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    for number, hint in enumerate(hints, start=1):
        if not isinstance(hint, Hint):
            raise TypeError(f"hints must be Hint, got {type(hint).__name__}")
        if hint.x >= size[0] or hint.y >= size[1]:
            raise HintError(
                f"hint {number} at {hint.x:g}, {hint.y:g} lies outside the picture of"
                f" {size[0]}×{size[1]}"
            )
        draw.circle((hint.x, hint.y), hint.radius, fill=(*hint.rgb, 255))
        draw.point((int(hint.x), int(hint.y)), fill=(*hint.rgb, 255))  # of a radius below 1 px
    return layer


def read_painted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A painted RGB or RGBA picture → a layer. Raises :class:`HintError`: see `make_layer`."""
    if picture.size != size:
        raise HintError(
            f"the hint picture is {picture.width}×{picture.height}, the sketch {size[0]}×{size[1]};"
            " they must be of one size"
        )
    if picture.mode == "RGBA" and any(picture.getchannel("A").histogram()[:OPAQUE]):
        mask = picture.getchannel("A").point([255 * (level >= OPAQUE) for level in range(256)])
    else:
        mask = _find_paint(picture.convert("RGB"))
    if mask.getbbox() is None:
        raise HintError("nothing is painted in the hint picture")
    layer = picture.convert("RGB")
    layer.putalpha(mask)
    return layer


def _find_paint(picture: Image.Image) -> Image.Image:
    """255 where an opaque picture has a colour, without the rims that JPEG mixes (mode L)."""
    pixels = np.asarray(picture)
    chroma = pixels.max(-1).astype(np.int16) - pixels.min(-1)
    mask = Image.fromarray(np.where(chroma >= MIN_CHROMA, 255, 0).astype(np.uint8))
    inside = mask.filter(ImageFilter.MinFilter(3))
    return inside if inside.getbbox() else mask
