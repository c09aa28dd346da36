"""TIFFs of which Pillow doesn't know the samples: decoded where that is plain, else described.

Decoded are grey, RGB and CMYK of 8, 16 or 32 bits, unsigned or floating point, with or without
alpha, and what libtiff turns into RGB by itself: SGI's LogL and LogLuv.
"""

from typing import BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from colorizer.base.errors import PictureError
from colorizer.pictures.libtiff import DAMAGED, has_codec, read_as_rgba, read_blocks
from colorizer.pictures.pages import read_tiff_directory

UInt8Array = npt.NDArray[np.uint8]

WHITE = 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324
_ORIENTATION, _NUM_SAMPLES, _ROWS_PER_STRIP, _PLANAR = 274, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 322, 323, 338, 339
_PLANES = {0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 5: ("CMYK", 4)}
_PHOTOMETRIC_NAMES = {3: "palette", 4: "mask", 6: "YCbCr", 8: "Lab", 9: "ICC Lab", 10: "ITU Lab"}
_LOG = {32844: "LogL", 32845: "LogLuv"}
_CODECS = {
    2: "CCITT RLE", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "deflate",
    32773: "PackBits", 34676: "SGILog", 34677: "SGILog24", 34712: "JPEG 2000", 34887: "LERC",
    34925: "LZMA", 50000: "Zstandard", 50001: "WEBP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_FORMAT_NAMES = {_UNSIGNED: "", _SIGNED: "signed ", _FLOAT: "floating-point "}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_MAX_SAMPLES = 64
"""Of a pixel; a hostile number would fill the memory."""
_NO_TAGS = "broken: a TIFF whose tags make no sense or are cut off; export it again, best as PNG"


class _Layout(NamedTuple):
    """What a page holds, by its tags."""

    width: int
    height: int
    bits: tuple[int, ...]
    sample_format: int
    photometric: int
    compression: int
    extra_samples: tuple[int, ...]
    is_planar: bool
    block_size: tuple[int, int]
    """Width and height of a tile, or of a strip."""
    orientation: int
    directory: int

    def __str__(self) -> str:
        bits = "/".join(str(number) for number in sorted(set(self.bits)))
        colours = {
            **{key: name for key, (name, _) in _PLANES.items()},
            **_PHOTOMETRIC_NAMES,
            **_LOG,
        }
        colour = colours.get(self.photometric, f"photometric {self.photometric}")
        kind = _FORMAT_NAMES.get(self.sample_format, "complex ")
        codec = _CODECS.get(self.compression, f"compression {self.compression}")
        return (
            f"a TIFF of {len(self.bits)} × {bits}-bit {kind}samples, {colour}"
            + (" with alpha" if set(self.extra_samples) & {_ASSOCIATED, _UNASSOCIATED} else "")
            + ("" if self.compression == 1 else f", {codec}")
        )


class UnusualTiff:
    """A page of a TIFF that Pillow opens in no mode; ``directory`` is its place in the file.

    Raises :class:`PictureError` for tags that make no sense.
    """

    def __init__(self, source: BinaryIO, directory: int) -> None:
        self._source = source
        try:
            self._layout = _read_layout(source, directory)
        # a hostile file can make Pillow raise nearly anything
        except Exception:
            raise PictureError(_NO_TAGS) from None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored."""
        return self._layout.width, self._layout.height

    def decode(self) -> Image.Image:
        """Decode to an upright picture of mode RGB or RGBA.

        Raises :class:`PictureError` for one that isn't decoded, or not wholly.
        """
        layout = self._layout
        if layout.photometric in _LOG and has_codec(layout.compression):
            raster = read_as_rgba(self._source, layout.directory, *self.size)
            return Image.frombytes("RGBA", self.size, raster).convert("RGB")  # upright already
        if not _is_plain(layout):
            raise PictureError(
                f"can't be read: {layout}; save it as 8-bit RGB or grey, best as PNG"
            )
        picture = _to_picture(_to_8_bits(_read_samples(self._source, layout), layout), layout)
        picture.getexif()[_ORIENTATION] = layout.orientation
        ImageOps.exif_transpose(picture, in_place=True)
        return picture


def _is_plain(layout: _Layout) -> bool:
    _, num_planes = _PLANES.get(layout.photometric, ("", 0))
    return (
        num_planes > 0
        and len(layout.bits) == num_planes + len(layout.extra_samples)
        and len(set(layout.bits)) == 1
        and (layout.sample_format, layout.bits[0])
        in {(_UNSIGNED, 8), (_UNSIGNED, 16), (_UNSIGNED, 32), (_FLOAT, 32), (_FLOAT, 64)}
        and has_codec(layout.compression)
    )


def _read_layout(source: BinaryIO, directory: int) -> _Layout:
    tags = read_tiff_directory(source, directory)
    if _STRIP_OFFSETS not in tags and _TILE_OFFSETS not in tags:
        raise ValueError("no place of pixels")
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    num_samples = int(tags.get(_NUM_SAMPLES, 1))
    bits = tuple(int(number) for number in cast("tuple[int, ...]", tags.get(_BITS, (1,))))
    formats = cast("tuple[int, ...]", tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    if len(bits) == 1 and num_samples <= _MAX_SAMPLES:
        bits *= num_samples
    is_tiled = _TILE_WIDTH in tags
    return _Layout(
        width=width,
        height=height,
        bits=bits,
        sample_format=formats[0] if len(set(formats)) == 1 else 0,
        photometric=int(tags.get(_PHOTOMETRIC, 0)),
        compression=int(tags.get(_COMPRESSION, 1)),
        extra_samples=tuple(cast("tuple[int, ...]", tags.get(_EXTRA_SAMPLES, ()))),
        is_planar=tags.get(_PLANAR, 1) == 2,
        block_size=(int(tags[_TILE_WIDTH]), int(tags[_TILE_HEIGHT]))
        if is_tiled
        else (width, min(height, int(tags.get(_ROWS_PER_STRIP, height)))),
        orientation=int(tags.get(_ORIENTATION, 1)),
        directory=directory,
    )


def _read_samples(source: BinaryIO, layout: _Layout) -> npt.NDArray[np.generic]:
    """H×W×N samples, as the file has them in this machine's byte order."""
    kind = "f" if layout.sample_format == _FLOAT else "u"
    dtype = np.dtype(f"{kind}{layout.bits[0] // 8}")
    num_samples = len(layout.bits)
    block_width, block_height = layout.block_size
    samples = np.empty((layout.height, layout.width, num_samples), dtype)
    per_block = 1 if layout.is_planar else num_samples
    across = -(-layout.width // block_width)
    down = -(-layout.height // block_height)
    num_blocks = 0
    for number, block in enumerate(read_blocks(source, layout.directory)):
        plane, place = divmod(number, across * down)
        top, left = (place // across) * block_height, (place % across) * block_width
        planes = slice(plane, plane + 1) if layout.is_planar else slice(None)
        target = samples[top : top + block_height, left : left + block_width, planes]
        rows = np.frombuffer(block, dtype).reshape(-1, block_width, per_block)
        if len(rows) < len(target):
            raise PictureError(DAMAGED)
        target[:] = rows[: target.shape[0], : target.shape[1]]
        num_blocks += 1
    if num_blocks != across * down * (num_samples if layout.is_planar else 1):
        raise PictureError(DAMAGED)
    return samples


def _to_8_bits(samples: npt.NDArray[np.generic], layout: _Layout) -> UInt8Array:
    white_level = 2.0 ** layout.bits[0] - 1
    if layout.bits[0] > 16:
        white_level = guess_white_level(float(samples.min()), float(samples.max()), samples.dtype)
    scaled = np.empty(samples.shape, np.uint8)
    # by rows: float copies of a large picture would be many times its size
    for out, row in zip(scaled, samples, strict=True):
        out[:] = np.rint(row.astype(np.float64) * (WHITE / white_level))
    return scaled


def guess_white_level(low: float, high: float, dtype: "np.dtype[np.generic]") -> float:
    """The sample value that is white, by the lowest and highest values of a deep picture.

    Files don't say it: 32-bit samples are as often 0..1, 0..255 or 0..65535 as they use all bits.
    Raises :class:`PictureError` where it can't be told.
    """
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return 1.0
    for level in (255.0, 65535.0):
        if low >= 0 and high <= level:
            return level
    if dtype == np.uint32:
        return 2.0**32 - 1
    raise PictureError(f"samples of unknown scale: values from {low:g} to {high:g}")


def _to_picture(samples: UInt8Array, layout: _Layout) -> Image.Image:
    _, num_planes = _PLANES[layout.photometric]
    colours = np.ascontiguousarray(samples[..., :num_planes])
    if layout.photometric == 0:
        colours = WHITE - colours
    if num_planes == 1:
        picture = Image.fromarray(colours[..., 0]).convert("RGB")
    else:
        mode = "RGB" if num_planes == 3 else "CMYK"
        size = (layout.width, layout.height)
        picture = Image.frombytes(mode, size, colours.tobytes()).convert("RGB")
    kinds = [kind for kind in layout.extra_samples if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if not kinds:
        return picture
    at = num_planes + layout.extra_samples.index(kinds[0])
    alpha = Image.fromarray(np.ascontiguousarray(samples[..., at]))
    if kinds[0] == _ASSOCIATED and num_planes != 4:
        size = (layout.width, layout.height)
        joined = np.dstack([np.asarray(picture), np.asarray(alpha)])
        return Image.frombytes("RGBa", size, joined.tobytes()).convert("RGBA")
    picture.putalpha(alpha)
    return picture
