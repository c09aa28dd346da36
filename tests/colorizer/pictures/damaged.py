"""Damaged pictures of every accepted format and TIFF compression, drawn from a seed."""

import io
import random
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.colorizer.pictures.png_chunks import png_of

TIFF_COMPRESSIONS = {
    "raw": ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"),
    "tiff_ccitt": ("1",),
    "group3": ("1",),
    "group4": ("1",),
    "jpeg": ("L", "RGB", "CMYK"),
    "packbits": ("1", "L", "P", "RGB", "RGBA", "I;16"),
    "tiff_lzw": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"),
    "tiff_adobe_deflate": ("1", "L", "RGB", "RGBA", "YCbCr", "I;16"),
    "tiff_deflate": ("L", "RGB"),
    "lzma": ("1", "RGB"),
    "zstd": ("L", "RGB"),
}
"""Each that Pillow writes, and modes of it."""
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("L", "P"),
    "AVIF": ("RGB", "RGBA"),
    "JPEG2000": ("L", "RGB", "RGBA"),
}
SIZES = ((37, 50), (130, 90))


class Kind(NamedTuple):
    """A format, or a compression of TIFF."""

    format: str
    compression: str | None = None

    def __str__(self) -> str:
        return f"{self.format} {self.compression}" if self.compression else self.format


KINDS = [
    *map(Kind, MODES),
    *(Kind("TIFF", compression) for compression in TIFF_COMPRESSIONS),
]


def originals(kind: Kind) -> list[bytes]:
    """Whole pictures of several modes and sizes: shapes, and some noise."""
    modes = TIFF_COMPRESSIONS[kind.compression] if kind.compression else MODES[kind.format]
    return [
        data
        for number, mode in enumerate(modes)
        for width, height in SIZES
        for data in _encoded(_drawn(mode, width, height, number), kind)
    ]


def _drawn(mode: str, width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[: height // 2] = (200, 30, 40, 255)
    pixels[height // 4 : height // 3, width // 4 :] = 255
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    image = Image.fromarray(pixels)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def _encoded(picture: Image.Image, kind: Kind) -> Iterator[bytes]:
    # a TIFF in one strip, and in many
    strips = [{"tiffinfo": {278: rows}} for rows in (16, 1 << 20)] if kind.compression else [{}]
    for options in strips:
        file = io.BytesIO()
        if kind.compression:
            picture.save(file, "TIFF", compression=kind.compression, **options)
        else:
            picture.save(file, kind.format)
        yield file.getvalue()


def damaged(kind: Kind, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged pictures of a kind."""
    # a string seeds by its bytes, whatever the hash seed
    rng, wholes = random.Random(f"{kind} {seed}"), originals(kind)
    for _ in range(count):
        whole = rng.choice(wholes)
        if kind.format == "PNG" and rng.random() < 0.7:
            yield _damage_in_png(whole, rng)
        else:
            yield _damage(whole, rng)


def _damage_in_png(whole: bytes, rng: random.Random) -> bytes:
    """Damage compressed data, and make the checksums right, as for a picture cut short."""
    at, chunks = 8, []
    while at < len(whole):
        length = int.from_bytes(whole[at : at + 4], "big")
        chunks.append((whole[at + 4 : at + 8], whole[at + 8 : at + 8 + length]))
        at += 12 + length
    rows = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    if rng.random() < 0.5:
        pixels = zlib.compress(rows[: rng.randrange(len(rows))])
    else:
        pixels = _damage(zlib.compress(rows), rng)
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return png_of(*others[:-1], (b"IDAT", pixels), others[-1])


def _damage(whole: bytes, rng: random.Random) -> bytes:
    data, at = bytearray(whole), rng.randrange(len(whole))
    if rng.random() < 0.7:  # in the pixels, more often than in the header
        at = rng.randrange(min(at, 64), len(whole))
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # zeroed, or set, from a place on
        end = rng.choice((len(data), min(len(data), at + rng.randrange(1, 200))))
        data[at:end] = rng.choice((b"\0", b"\xff", b"\x55")) * (end - at)
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at : at + rng.randrange(1, 64)]
    elif kind == 4:
        data[at:at] = rng.randbytes(rng.randrange(1, 64))
    else:  # a number of a header: lengths, offsets, counts of rows
        at = rng.randrange(min(len(data), 400) - 4)
        data[at : at + 2] = rng.randrange(1 << 16).to_bytes(2, rng.choice(("little", "big")))
    return bytes(data)
