"""Whether a decoder wrote every pixel of a picture: one that left some is refused.

Pillow accepts a PNG or GIF whose compressed data ends early, and a TIFF of which libtiff understood
a part. What wasn't written is then black, or whatever the memory held before: another client's
picture, in a server. Proven are, by format:

- PNG, GIF, BMP: the rows that are written last are filled with a colour before; where a row still
  has it, the picture is decoded again with another colour, and must be the same;
- JPEG 2000: decoded twice into two colours;
- TIFF: every message of libtiff is damage; decompressors that may succeed without writing all are
  run again into memory of two patterns (:mod:`colorizer.pictures.libtiff`); uncompressed strips or
  tiles must cover the picture. Where Pillow hides its libtiff (Windows), only LZW and Deflate are
  read, which report an error unless they wrote all;
- WEBP, AVIF: their libraries give a whole picture or an error. JPEG: libjpeg writes each pixel,
  whatever is damaged.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin

from colorizer.base.errors import PictureError
from colorizer.pictures.libtiff import (
    DAMAGED,
    damage_messages,
    has_codec,
    is_accessible,
    read_blocks,
    require_written,
)

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_FILLS = (0xC95A00A5, 0x36A5FF5A)
"""Colours that memory is filled with, as Pillow stores them: in 8-bit modes the lowest byte."""
_DECODED_TWICE = "JPEG2000"
_BY_LAST_ROWS = ("PNG", "GIF", "BMP")
WHITE = 255
_LAST_ROWS = 2
"""The last row of an interlaced picture may be written before the one above it."""
_ROWS_AS_THEY_ARE = ("tiff_ccitt", "group3", "group4", "packbits")
"""TIFF compressions that change no colours."""
_TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_TILE_WIDTH = 259, 262, 284, 322
_TIFF_YCBCR = 6
_LZW_AND_DEFLATE = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
"""TIFF compressions that every libtiff can decompress."""
_WHOLE_OR_ERROR = (*_LZW_AND_DEFLATE, "lzma", "zstd")
"""TIFF compressions whose decoder reports an error unless it wrote a whole strip."""

Reopen = Callable[[], AbstractContextManager[ImageFile.ImageFile]]


class _Filled(NamedTuple):
    box: Box
    fill: int


def load_wholly(picture: ImageFile.ImageFile, reopen: Reopen) -> None:
    """Decode an opened picture as ``picture.load()`` does; ``reopen`` opens the same page again.

    Raises :class:`PictureError` unless each pixel was written, and what Pillow raises. One thread
    at a time.
    """
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        _load_tiff(picture)
    elif picture.format in _BY_LAST_ROWS or picture.format == _DECODED_TWICE:
        rows = _load_filled(picture, _FILLS[0])
        if _is_doubtful(picture, rows):
            _compare(picture, reopen)
    else:
        picture.load()


def _load_filled(picture: ImageFile.ImageFile, fill: int) -> list[_Filled]:
    """Load into memory whose last written rows, or all, are filled; return what was filled."""
    boxes, fill = _boxes_to_fill(picture), _fill_of_mode(picture.mode, fill)
    prepare = picture.load_prepare

    def prepare_filled() -> None:
        prepare()
        for box in boxes:
            picture.im.paste(fill, box)

    # Pillow calls it between making the memory and decoding into it
    vars(picture)["load_prepare"] = prepare_filled
    picture.load()
    del vars(picture)["load_prepare"]  # it refers to the picture, which would never be freed
    return [_Filled(box, fill) for box in boxes]


def _fill_of_mode(mode: str, fill: int) -> int:
    if mode == "1":
        return WHITE if fill == _FILLS[1] else 0
    if mode in ("L", "P"):
        return fill & 0xFF
    return fill & 0xFFFF if mode.startswith("I;16") else fill


def _boxes_to_fill(picture: ImageFile.ImageFile) -> list[Box]:
    extents = picture.tile[0].extents if picture.tile else None
    left, top, right, bottom = extents or (0, 0, *picture.size)
    if picture.format == _DECODED_TWICE:
        return [(left, top, right, bottom)]
    below_first = min(top + _LAST_ROWS, bottom)
    above_last = max(bottom - _LAST_ROWS, top)
    return [(left, top, right, below_first), (left, above_last, right, bottom)]


def _is_doubtful(picture: ImageFile.ImageFile, filled: list[_Filled]) -> bool:
    if picture.format == _DECODED_TWICE or picture.tell() > 0:
        return True
    for (left, top, right, bottom), fill in filled:
        if bottom - top < _LAST_ROWS:
            return True
        row = Image.new(picture.mode, (right - left, 1), fill).tobytes()
        if any(picture.crop((left, y, right, y + 1)).tobytes() == row for y in range(top, bottom)):
            return True
    return False


def _compare(picture: ImageFile.ImageFile, reopen: Reopen) -> None:
    with reopen() as again:
        _load_filled(again, _FILLS[1])
        if again.tobytes() != picture.tobytes():
            raise PictureError(DAMAGED)


# --- TIFF ----------------------------------------------------------------------------------------


def _load_tiff(picture: TiffImagePlugin.TiffImageFile) -> None:
    if any(tile.codec_name == "libtiff" for tile in picture.tile):
        _load_by_libtiff(picture)
    elif _is_covered(picture):
        picture.load()
    else:
        raise PictureError(DAMAGED)


def _load_by_libtiff(picture: TiffImagePlugin.TiffImageFile) -> None:
    if picture.info.get("compression") in _LZW_AND_DEFLATE and not is_accessible():
        try:
            picture.load()
        except OSError:
            raise PictureError(DAMAGED) from None
        return
    if not has_codec(picture.tag_v2.get(_TIFF_COMPRESSION, 1)):
        name = picture.info.get("compression")
        raise PictureError(f"can't be read: a TIFF compressed as {name}; save it as PNG")
    source, directory = picture.fp, picture.tag_v2._offset
    assert source is not None, "an opened picture has its file"
    assert directory is not None, "an opened TIFF has a directory"
    position = source.tell()
    if _are_rows(picture):
        rows = b"".join(read_blocks(source, directory))
        source.seek(position)
        _take_rows(picture, rows)
        return
    if picture.info.get("compression") not in _WHOLE_OR_ERROR:
        require_written(source, directory)
        source.seek(position)
    with damage_messages() as messages:
        try:
            picture.load()
        except OSError:
            messages.append("Pillow")
    if messages:
        raise PictureError(DAMAGED)


def _are_rows(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a page's decoded strips, joined, are its rows: no second decoding is needed."""
    tags = picture.tag_v2
    return (
        picture.info.get("compression") in _ROWS_AS_THEY_ARE
        and _TIFF_TILE_WIDTH not in tags
        and tags.get(_TIFF_PLANAR, 1) == 1
        and tags.get(_TIFF_PHOTOMETRIC) != _TIFF_YCBCR
    )


def _take_rows(picture: TiffImagePlugin.TiffImageFile, rows: bytes) -> None:
    """Do what Pillow does after it has decoded."""
    (tile,) = picture.tile
    assert isinstance(tile.args, tuple), "libtiff's tile has arguments"
    _, _, width, height = tile.extents or (0, 0, *picture.size)
    picture.im = Image.frombytes(picture.mode, (width, height), rows, "raw", tile.args[0]).im
    picture.tile, picture.readonly = [], 0
    picture.load_end()
    Image.Image.load(picture)  # the palette


def _is_covered(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether uncompressed strips or tiles, which lie on a grid, cover each plane."""
    planes: dict[str, set[Box]] = {}
    for tile in picture.tile:
        raw_mode = tile.args[0] if isinstance(tile.args, tuple) else ""
        planes.setdefault(str(raw_mode), set()).add(tile.extents or (0, 0, *picture.size))
    width, height = picture.size
    areas = [sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) for boxes in planes.values()]
    is_planar = picture.tag_v2.get(_TIFF_PLANAR, 1) == 2
    num_planes = len(picture.getbands()) if is_planar else 1
    return len(areas) == num_planes and all(area == width * height for area in areas)
