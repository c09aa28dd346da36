"""PNG's chunk checksums (PNG specification, section 5.3), which Pillow ignores in picture data.

Without this check a flipped bit changes colours without an error: zlib's checksum at the end isn't
verified either once all rows are decoded.
"""

import zlib
from typing import BinaryIO

from colorizer.base.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ONLY_ONCE = (b"IHDR", b"PLTE")
_READ_BYTES = 1 << 20


def check_png(file: BinaryIO) -> None:
    """Check every chunk from the file's position to ``IEND``; other formats pass.

    Raises :class:`PictureError` if a chunk's CRC-32 is wrong, the end is missing, or a chunk that
    must be unique (section 5.6) occurs twice: two joined files.
    """
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return
    kind, seen = b"", set()
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise PictureError("broken: a PNG that ends before its IEND chunk")
        kind = head[4:]
        if kind in _ONLY_ONCE and kind in seen:
            raise PictureError(f"broken: it has two {kind.decode()} chunks")
        seen.add(kind)
        checksum = _read_checksum(file, int.from_bytes(head[:4], "big"), zlib.crc32(kind))
        if int.from_bytes(file.read(4), "big") != checksum:
            name = kind.decode("latin-1") if kind.isalpha() else "unnamed"
            raise PictureError(f"broken: the checksum of its {name} chunk is wrong")


def _read_checksum(file: BinaryIO, num_bytes: int, checksum: int) -> int:
    while num_bytes and (data := file.read(min(num_bytes, _READ_BYTES))):
        checksum = zlib.crc32(data, checksum)
        num_bytes -= len(data)
    return checksum
