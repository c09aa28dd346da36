"""A picture file of any common format → upright 8-bit RGB: training and serving share this.

Shape legend: H×W pixels, 3 channels = red, green, blue. ``uint8`` 0..255, white paper = 255.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from colorizer.base.errors import PictureError
from colorizer.pictures.pages import (
    Pages,
    TiffPage,
    count_frames,
    find_tiff_pages,
    with_first_page,
)
from colorizer.pictures.png_checksums import check_png
from colorizer.pictures.unusual_tiff import UnusualTiff, guess_white_level
from colorizer.pictures.wholeness import load_wholly

UInt8Array = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")
SUFFIXES_OF_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
}
SUFFIXES = tuple(suffix for name in FORMATS for suffix in SUFFIXES_OF_FORMATS[name])
"""Of the files that are taken from a folder, in lower case."""
DEFAULT_MAX_PIXELS = 50_000_000
MAX_SKETCH_PIXELS = 8192 * 8192
"""The bound for a sketch that is to be coloured."""
WHITE = 255

_WARNINGS_LOCK = threading.Lock()
_OBJECT_ADDRESS = re.compile(r"\s*<[^<>]* at 0x[0-9a-f]+>")
# Pillow widens grey PNG samples to 8 bits, but leaves the transparent one as the file has it
_PNG_SAMPLE_SCALE = {"L;2": 85, "L;4": 17}
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0
_TIFF_SAMPLE_FORMAT = 339
_TIFF_UNSIGNED = 1


class Decoded(NamedTuple):
    """A picture as it is seen on white paper, and how opaque it was."""

    rgb: Image.Image
    """8-bit RGB, upright."""
    alpha: Image.Image | None
    """8-bit grey of the same size, 255 = opaque; None for a picture without transparency."""
    pages: Pages = Pages()
    """How many pictures the file holds."""

    def with_alpha(self) -> Image.Image:
        """RGB, or RGBA with the transparency; what shows through is still composited on white."""
        if self.alpha is None:
            return self.rgb
        picture = self.rgb.copy()
        picture.putalpha(self.alpha)
        return picture


def open_picture(
    file: BinaryIO | bytes | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Image.Image:
    """Decode a picture wholly, the right way up, as 8-bit RGB.

    Accepts PNG, JPEG, WEBP, BMP, TIFF, GIF, AVIF and JPEG 2000. Deeper grey is scaled to 8 bits,
    transparency is composited on white, a file of several pictures gives its first, and EXIF
    orientation is applied. Colour profiles and gamma are not applied. A PNG's checksums are
    verified, and a picture of which the decoder didn't write every pixel is refused. The size is
    checked from the header, before pixels are read; Pillow's own bound of 178 million pixels
    applies whatever ``max_pixels`` is.

    Raises :class:`PictureError`, one line without the file's name, for any other file, and
    :class:`ValueError` if ``max_pixels`` is below 1.
    """
    return open_with_alpha(file, max_pixels=max_pixels).rgb


def open_with_alpha(
    file: BinaryIO | bytes | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, page: int = 0
) -> Decoded:
    """Decode a picture as :func:`open_picture` does, and return its transparency too.

    ``page``: which page of a TIFF, counted from 0.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be ≥ 1, got {max_pixels}")
    # warning filters are global: one thread at a time may change them
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _opened(file) as source:
                return _decode(source, max_pixels, page)
        except PictureError:
            raise
        # a hostile file can make Pillow raise nearly anything
        except Exception as error:
            raise PictureError(_reason(error)) from None


def convert_picture(picture: Image.Image, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoded:
    """A picture that Pillow decoded already, as :func:`open_with_alpha` gives a file's.

    Of several frames, the current one; the picture itself isn't changed. Raises
    :class:`PictureError` if it is too large, or isn't whole.
    """
    _check_size(picture.size, max_pixels)
    raw_mode = _raw_mode(picture) if isinstance(picture, ImageFile.ImageFile) else ""
    try:
        copy = picture.copy()
        if tags := getattr(picture, "tag_v2", None):
            copy.tag_v2 = tags  # type: ignore[attr-defined]
        return _to_rgb(copy, raw_mode)
    except Exception as error:
        raise PictureError(_reason(error)) from None


@contextmanager
def _opened(file: BinaryIO | bytes | Path) -> Iterator[BinaryIO]:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            yield opened
    else:
        yield io.BytesIO(file) if isinstance(file, bytes) else file


def _decode(source: BinaryIO, max_pixels: int, page: int) -> Decoded:
    tiff_pages = find_tiff_pages(source)
    num_pages = max(1, len(tiff_pages))
    if page >= num_pages:
        raise PictureError(f"has no page {page + 1}, only {num_pages}")
    frame = tiff_pages[page].frame if tiff_pages else 0
    try:
        picture = _open(source, frame)
    except Image.DecompressionBombError:
        raise
    except Exception:
        if not tiff_pages:
            raise
        decoded = _decode_unusual(source, max_pixels, tiff_pages[page])
        return decoded._replace(pages=Pages(num_pages))
    with picture:
        _check_size(picture.size, max_pixels)
        _check_checksums(source)
        raw_mode = _raw_mode(picture)
        load_wholly(picture, lambda: _open(source, frame))
        decoded = _to_rgb(picture, raw_mode)
        num_frames = 1 if tiff_pages else count_frames(picture, source)
    return decoded._replace(pages=Pages(num_pages, num_frames))


def _open(source: BinaryIO, frame: int) -> ImageFile.ImageFile:
    picture = Image.open(source, formats=FORMATS)
    picture.seek(frame)
    if picture.mode not in ("P", "PA"):
        picture.palette = None  # Pillow keeps that of a TIFF's first page
    return picture


def _decode_unusual(source: BinaryIO, max_pixels: int, page: TiffPage) -> Decoded:
    """Decode a page of a TIFF that Pillow doesn't open."""
    if page.frame > 0:  # perhaps only because it opens none of a TIFF whose first one is unusual
        return _decode(with_first_page(source, page), max_pixels, 0)
    unusual = UnusualTiff(source, page.directory)
    _check_size(unusual.size, max_pixels)
    return _to_rgb(unusual.decode(), "")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PictureError(f"empty: {width}×{height} px")
    if width * height > max_pixels:
        raise PictureError(f"too large: {width}×{height} px, at most {max_pixels} px are accepted")


def _check_checksums(source: BinaryIO) -> None:
    position = source.tell()
    source.seek(0)
    check_png(source)
    source.seek(position)


def _to_rgb(picture: Image.Image, raw_mode: str) -> Decoded:
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep_grey_to_rgb(picture)
    if picture.has_transparency_data:
        _scale_transparent_sample(picture, raw_mode)
        rgba = picture.convert("RGBA")
        return Decoded(_over_white(rgba), rgba.getchannel("A"))
    return Decoded(picture if picture.mode == "RGB" else picture.convert("RGB"), None)


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    arguments = picture.tile[0].args if picture.tile else ""
    return arguments if isinstance(arguments, str) else ""


def _over_white(rgba: Image.Image) -> Image.Image:
    page = Image.new("RGBA", rgba.size, (WHITE, WHITE, WHITE, WHITE))
    page.alpha_composite(rgba)
    return page.convert("RGB")


def _scale_transparent_sample(picture: Image.Image, raw_mode: str) -> None:
    transparent = picture.info.get("transparency")
    if raw_mode in _PNG_SAMPLE_SCALE and isinstance(transparent, int):
        picture.info["transparency"] = min(WHITE, transparent * _PNG_SAMPLE_SCALE[raw_mode])
    elif raw_mode == "RGB;16B" and isinstance(transparent, tuple):
        picture.info["transparency"] = tuple(sample >> 8 for sample in transparent)


def _deep_grey_to_rgb(picture: Image.Image) -> Decoded:
    values = np.asarray(picture)
    if picture.mode == "I" and _is_unsigned(picture):
        values = values.view(np.uint32)  # Pillow has them as signed
    white_level = _white_level(picture, values)
    grey = np.empty(values.shape, np.uint8)
    # row by row: the float copy of a large picture would be many times its size
    for row, row_values in zip(grey, values, strict=True):
        scaled = row_values.astype(np.float64) * (WHITE / white_level)
        row[:] = np.clip(np.rint(scaled), 0, WHITE)
    if _is_white_zero(picture):
        grey = WHITE - grey
    transparent = picture.info.get("transparency")
    alpha = None
    if isinstance(transparent, int):
        alpha = np.where(values == transparent, np.uint8(0), np.uint8(WHITE))
        grey[alpha == 0] = WHITE
    rgb = Image.fromarray(grey).convert("RGB")
    return Decoded(rgb, None if alpha is None else Image.fromarray(alpha))


def _white_level(picture: Image.Image, values: npt.NDArray[np.generic]) -> float:
    """The sample value that is white: by the format where it says so, else by the values."""
    if picture.mode.startswith("I;16"):
        bits = getattr(picture, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
        return float(2**bits - 1)
    return guess_white_level(float(values.min()), float(values.max()), values.dtype)


def _is_unsigned(picture: Image.Image) -> bool:
    tags = getattr(picture, "tag_v2", {})
    formats = tags.get(_TIFF_SAMPLE_FORMAT, (_TIFF_UNSIGNED,))
    return tags.get(_TIFF_BITS_PER_SAMPLE) == (32,) and formats == (_TIFF_UNSIGNED,)


def _is_white_zero(picture: Image.Image) -> bool:
    # Pillow inverts such 8-bit grey itself, but not 16-bit
    tags = getattr(picture, "tag_v2", {})
    return picture.mode.startswith("I;16") and tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture: no valid header of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return "too large: over 178 million pixels, the most that Pillow opens"
    if isinstance(error, MemoryError):
        return "too large: not enough memory"
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    text = " ".join(_OBJECT_ADDRESS.sub("", str(error)).split())
    return f"broken: {text or type(error).__name__}"
