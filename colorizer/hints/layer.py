"""The hints of one sketch as a layer: an RGBA picture of its size, opaque where there is a hint.

A layer comes from dots, from an .ora, or from a picture that was painted: with transparency, what
is opaque counts; without, as in a JPEG, what has a colour, so that grey lines and paper don't.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from colorizer.base.errors import HintError, PictureError
from colorizer.hints import openraster
from colorizer.hints.hint import MAX_JSON_BYTES, Hint, parse_json, require_few, require_inside
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import (
    MAX_SKETCH_PIXELS,
    Decoded,
    convert_picture,
    open_with_alpha,
)

UInt8Array = npt.NDArray[np.uint8]
Size = tuple[int, int]

HintSource: TypeAlias = str | Path | bytes | Image.Image | Sequence[Hint]
JSON_SUFFIX = ".json"
OPAQUE = 128
"""0..255: from here a pixel of a painted picture counts."""
MIN_CHROMA = 40
"""Greatest less least of red, green and blue: an opaque picture's pixels with less are no paint."""


class HintLayer(NamedTuple):
    """The hints of one sketch."""

    picture: Image.Image
    """RGBA of the sketch's size: alpha 255 in a hint, all 0 elsewhere."""
    dots: list[Hint] | None = None
    """What was drawn, if hints were given as dots."""


def make_layer(
    hints: HintSource, size: Size, *, decoder: DecoderProcess | None = None
) -> HintLayer:
    """Hints of any kind → the layer of a sketch of this width and height.

    ``hints``: dots; or a painted picture, an .ora or JSON, as a path (``.json`` and ``.ora`` say
    which) or bytes; or a picture of Pillow's. With a ``decoder``, pictures are decoded in its
    process. Raises :class:`HintError` if a hint lies outside the sketch, the picture is of another
    size or nothing is painted in it, and :class:`PictureError` if it can't be read.
    """
    if isinstance(hints, Image.Image):
        is_plain = hints.mode in ("RGB", "RGBA")
        picture = hints if is_plain else without_paper(convert_picture(hints))
        return HintLayer(read_painted(picture, size))
    if isinstance(hints, str | Path):
        try:
            return _read_path(Path(hints), size, decoder)
        except PictureError as error:
            raise type(error)(f"{hints}: {error}") from None
    if isinstance(hints, bytes):
        if is_json(hints):
            return _draw(parse_json(hints, size), size)
        return read_bytes(hints, size, decoder=decoder)
    return _draw(list(cast("Iterable[Hint]", hints)), size)


def is_json(data: bytes) -> bool:
    """Whether bytes are JSON rather than a picture, by their first sign."""
    return data.removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def read_bytes(
    data: bytes, size: Size | None, *, decoder: DecoderProcess | None = None
) -> HintLayer:
    """An .ora or a painted picture → a layer; without a ``size``, of that which it has.

    Raises what :func:`make_layer` raises.
    """
    try:
        if openraster.is_zip(data):
            return _read_ora(data, size, decoder)
        return HintLayer(read_painted(_open(data, decoder), size))
    except HintError:
        raise
    except PictureError as error:
        raise PictureError(f"the hints: {error}") from None


def _read_path(path: Path, size: Size, decoder: DecoderProcess | None) -> HintLayer:
    suffix = path.suffix.lower()
    if suffix == JSON_SUFFIX:
        return _draw(parse_json(_read(path, MAX_JSON_BYTES), size), size)
    if suffix == openraster.SUFFIX:
        return _read_ora(_read(path, openraster.MAX_FILE_BYTES), size, decoder)
    return HintLayer(read_painted(_open(path, decoder), size))


def _draw(hints: list[Hint], size: Size) -> HintLayer:
    return HintLayer(draw_dots(hints, size), hints)


def _read_ora(data: bytes, size: Size | None, decoder: DecoderProcess | None) -> HintLayer:
    found = openraster.read_ora(data)
    _require_size("the .ora", found.size, size)
    width, height = found.size
    limit = decoder.max_pixels if decoder else MAX_SKETCH_PIXELS
    if min(found.size) < 1 or width * height > limit:
        raise PictureError(f"too large: {width}×{height} px, 1 to {limit} px are accepted")
    painted = _open(found.png, decoder).convert("RGBA")
    picture = Image.new("RGBA", found.size)
    picture.paste(painted, found.offset)
    layer = _cut(picture, _opaque(picture))
    if layer.getbbox() is None:
        raise HintError(f"nothing is painted in the .ora's layer {openraster.LAYER_NAME!r}")
    return HintLayer(layer, _same_dots(found.dots, layer))


def _same_dots(data: bytes | None, layer: Image.Image) -> list[Hint] | None:
    """The dots of an .ora; None if it has none, or its layer was painted on since."""
    with suppress(HintError):
        if data is not None:
            dots = parse_json(data, layer.size)
            if draw_dots(dots, layer.size).tobytes() == layer.tobytes():
                return dots
    return None


def _open(source: Path | bytes, decoder: DecoderProcess | None) -> Image.Image:
    if decoder is not None:
        return without_paper(decoder.open_with_alpha(source))
    return without_paper(open_with_alpha(source, max_pixels=MAX_SKETCH_PIXELS))


def without_paper(decoded: Decoded) -> Image.Image:
    """RGB or RGBA in which half transparent paint has its own colour again, within a level or two.

    A decoded picture has it mixed with white, so soft edges of a brush would be hints of pale rims.
    """
    picture = decoded.with_alpha()
    if decoded.alpha is None:
        return picture
    pixels = np.array(picture)
    alpha = pixels[..., 3]
    soft = (alpha >= OPAQUE) & (alpha < 255)
    paper_less_colour = 255.0 - pixels[soft, :3]
    unmixed = 255 - paper_less_colour * 255 / alpha[soft, None]
    pixels[soft, :3] = np.clip(np.rint(unmixed), 0, 255)
    return Image.fromarray(pixels)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise HintError(f"can't be read ({error.strerror})") from None
    if len(data) > max_bytes:
        raise HintError(f"more than {max_bytes >> 20} MiB")
    return data


def draw_dots(hints: Sequence[Hint], size: Size) -> Image.Image:
    """Draw dots, later ones over earlier ones, without soft edges.

    Raises :class:`HintError` if there are too many, or one's centre lies outside.
    """
    require_few(len(hints))
    for hint in hints:
        if not isinstance(hint, Hint):
            raise TypeError(f"hints must be Hint, got {type(hint).__name__}")
    require_inside(hints, size)
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    for hint in hints:
        draw.circle((hint.x, hint.y), hint.radius, fill=(*hint.rgb, 255))
        draw.point((int(hint.x), int(hint.y)), fill=(*hint.rgb, 255))  # of a radius below 1 px
    return layer


def read_painted(picture: Image.Image, size: Size | None) -> Image.Image:
    """A painted RGB or RGBA picture → a layer. Raises :class:`HintError`: see `make_layer`."""
    _require_size("the hint picture", picture.size, size)
    if picture.mode == "RGBA" and any(picture.getchannel("A").histogram()[:OPAQUE]):
        mask = _opaque(picture)
    else:
        mask = _find_paint(picture.convert("RGB"))
    if mask.getbbox() is None:
        raise HintError("nothing is painted in the hint picture")
    return _cut(picture, mask)


def _require_size(what: str, found: Size, size: Size | None) -> None:
    if size is not None and found != size:
        raise HintError(
            f"{what} is {found[0]}×{found[1]}, the sketch {size[0]}×{size[1]}; they must be of one"
            " size"
        )


def _opaque(picture: Image.Image) -> Image.Image:
    return picture.getchannel("A").point([255 * (level >= OPAQUE) for level in range(256)])


def _cut(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The colours where the mask is 255 (alpha 255), and nothing of the picture elsewhere."""
    layer = Image.new("RGBA", picture.size)
    layer.paste(picture.convert("RGB"), mask=mask)
    return layer


def _find_paint(picture: Image.Image) -> Image.Image:
    """255 where an opaque picture has a colour, without the rims that JPEG mixes (mode L)."""
    pixels = np.asarray(picture)
    chroma = pixels.max(-1).astype(np.int16) - pixels.min(-1)
    mask = Image.fromarray(np.where(chroma >= MIN_CHROMA, 255, 0).astype(np.uint8))
    inside = mask.filter(ImageFilter.MinFilter(3))
    return inside if inside.getbbox() else mask
