"""Pillow's own libtiff, for what Pillow doesn't say: its messages, and whether it wrote all bytes.

Pillow silences libtiff's warnings, and some decompressors report success when their data ends early
(CCITT writes only the rows that it understood). Here every strip or tile is read into memory filled
with a pattern. Decompressors write from the first byte on, so where the last row still has the
pattern, it's read again into another one: bytes that differ weren't written.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any, NamedTuple

from PIL import _imaging

from colorizer.base.errors import PictureError

_PATTERNS = (0xA5, 0x5A)
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
_HANDLE, _BYTES, _COUNT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_uint32
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "TIFFSetErrorHandler": (ctypes.c_void_p, [ctypes.c_void_p]),
    "TIFFSetWarningHandler": (ctypes.c_void_p, [ctypes.c_void_p]),
    "TIFFFdOpen": (_HANDLE, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]),
    "TIFFSetSubDirectory": (ctypes.c_int, [_HANDLE, ctypes.c_uint64]),
    "TIFFCleanup": (None, [_HANDLE]),
    "TIFFIsTiled": (ctypes.c_int, [_HANDLE]),
    "TIFFNumberOfStrips": (_COUNT, [_HANDLE]),
    "TIFFNumberOfTiles": (_COUNT, [_HANDLE]),
    "TIFFScanlineSize": (_BYTES, [_HANDLE]),
    "TIFFTileRowSize": (_BYTES, [_HANDLE]),
    "TIFFStripSize": (_BYTES, [_HANDLE]),
    "TIFFTileSize": (_BYTES, [_HANDLE]),
    "TIFFReadEncodedStrip": (_BYTES, [_HANDLE, _COUNT, ctypes.c_void_p, _BYTES]),
    "TIFFReadEncodedTile": (_BYTES, [_HANDLE, _COUNT, ctypes.c_void_p, _BYTES]),
}


class _Blocks(NamedTuple):
    """The strips or tiles of one page."""

    handle: int
    num_blocks: int
    num_bytes: int
    """Of one decoded block; a last strip has fewer."""
    row_bytes: int
    read_encoded: Any

    def read(self, number: int, pattern: int) -> bytes:
        """Decode a block into memory filled with ``pattern``; empty if libtiff refuses."""
        buffer = ctypes.create_string_buffer(self.num_bytes)
        ctypes.memset(buffer, pattern, self.num_bytes)
        length = self.read_encoded(self.handle, number, buffer, self.num_bytes)
        return bytes(memoryview(buffer)[: max(0, length)])


@contextmanager
def damage_messages() -> Iterator[list[str]]:
    """Collect the modules whose errors, and warnings if Pillow lets them, libtiff reports.

    The handlers are global: one thread at a time may use this. They print nothing meanwhile.
    """
    modules: list[str] = []

    def note(module: bytes | None, *_: object) -> None:
        modules.append((module or b"").decode("latin-1"))

    tiff, handler = _library(), _HANDLER(note)
    address = ctypes.cast(handler, ctypes.c_void_p)
    setters = (tiff.TIFFSetErrorHandler, tiff.TIFFSetWarningHandler)
    before = [setter(address) for setter in setters]
    try:
        yield modules
    finally:
        for setter, previous in zip(setters, before, strict=True):
            setter(previous)


def is_written_wholly(source: IO[bytes], directory: int) -> bool:
    """Whether all strips or tiles of a page decode wholly, without a message of damage.

    ``directory`` is the page's place in the file, in bytes. One thread at a time.
    """
    descriptor = os.memfd_create("picture")
    try:
        source.seek(0)
        while chunk := source.read(1 << 20):
            os.write(descriptor, chunk)
        os.lseek(descriptor, 0, os.SEEK_SET)  # where libtiff begins to read
        return _is_written_wholly(descriptor, directory)
    finally:
        os.close(descriptor)


def _is_written_wholly(descriptor: int, directory: int) -> bool:
    tiff = _library()
    # messages while tags are read are about tags: those that matter fail below
    with damage_messages():
        handle = tiff.TIFFFdOpen(descriptor, b"picture", b"r")
        if not handle:
            return False
        is_open = tiff.TIFFSetSubDirectory(handle, directory)
    try:
        with damage_messages() as messages:
            return bool(is_open) and _are_written(_blocks(handle), messages)
    finally:
        with damage_messages():
            tiff.TIFFCleanup(handle)  # unlike TIFFClose, leaves the descriptor open


def _blocks(handle: int) -> _Blocks:
    tiff = _library()
    kind = "Tile" if tiff.TIFFIsTiled(handle) else "Strip"
    return _Blocks(
        handle,
        getattr(tiff, f"TIFFNumberOf{kind}s")(handle),
        getattr(tiff, f"TIFF{kind}Size")(handle),
        tiff.TIFFTileRowSize(handle) if kind == "Tile" else tiff.TIFFScanlineSize(handle),
        getattr(tiff, f"TIFFReadEncoded{kind}"),
    )


def _are_written(blocks: _Blocks, messages: list[str]) -> bool:
    if min(blocks.num_blocks, blocks.num_bytes, blocks.row_bytes) < 1:
        return False
    first, second = _PATTERNS
    for number in range(blocks.num_blocks):
        decoded = blocks.read(number, first)
        if messages or not decoded:
            return False
        last_row = decoded[-blocks.row_bytes :]
        if last_row.count(first) == len(last_row) and decoded != blocks.read(number, second):
            return False
    return True


@cache
def _library() -> ctypes.CDLL:
    # Pillow's module depends on its libtiff, so the symbols are found through it
    library = ctypes.CDLL(_imaging.__file__)
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError:
        raise PictureError(
            "can't be checked: this Pillow hides its libtiff. Save it uncompressed, or as PNG"
        ) from None
    return library
