"""PNGs of given chunks, with right checksums."""

import struct
import zlib


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of chunks, each its name and content; no other is added."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def png_header(
    width: int, height: int, *, bits: int = 8, colour_type: int = 0, interlaced: bool = False
) -> tuple[bytes, bytes]:
    """The chunk IHDR. ``bits`` of a sample; ``colour_type``: 0 grey, 2 RGB."""
    content = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    return b"IHDR", content
