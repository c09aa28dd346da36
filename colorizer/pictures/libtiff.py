"""Pillow's own libtiff, for what Pillow doesn't say: its messages, and whether it wrote all bytes.

Pillow silences libtiff's warnings, and some decompressors report success when their data ends early
(CCITT writes only the rows that it understood). Here every strip or tile is read into memory filled
with a pattern. Decompressors write from the first byte on, so where the last row still has the
pattern, it's read again into another one: bytes that differ weren't written.
"""

import ctypes
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any, NamedTuple

from PIL import _imaging

from colorizer.base.errors import PictureError

DAMAGED = "broken: its picture data is damaged or incomplete; export it again, best as PNG"
_PATTERNS = (0xA5, 0x5A)
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
_HANDLE, _BYTES, _COUNT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_uint32
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "TIFFSetErrorHandler": (ctypes.c_void_p, [ctypes.c_void_p]),
    "TIFFSetWarningHandler": (ctypes.c_void_p, [ctypes.c_void_p]),
    "TIFFFdOpen": (_HANDLE, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]),
    "TIFFSetSubDirectory": (ctypes.c_int, [_HANDLE, ctypes.c_uint64]),
    "TIFFIsCODECConfigured": (ctypes.c_int, [ctypes.c_uint16]),
    "TIFFReadRGBAImageOriented": (
        ctypes.c_int,
        [_HANDLE, _COUNT, _COUNT, ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
    ),
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


def is_accessible() -> bool:
    """Whether Pillow lets its libtiff be called: its wheels for Windows don't."""
    try:
        _library()
    except PictureError:
        return False
    return True


def has_codec(compression: int) -> bool:
    """Whether this libtiff can decompress a compression, by its number in TIFF."""
    return bool(_library().TIFFIsCODECConfigured(compression))


def read_blocks(source: IO[bytes], directory: int) -> Iterator[bytes]:
    """Decode each strip or tile of a page, in the file's order.

    ``directory`` is the page's place in the file, in bytes. One thread at a time. Raises
    :class:`PictureError` at the first that isn't written wholly or that libtiff complains of.
    """
    first, second = _PATTERNS
    with _opened_page(source, directory) as handle, damage_messages() as messages:
        blocks = _blocks(handle)
        if min(blocks.num_blocks, blocks.num_bytes, blocks.row_bytes) < 1:
            raise PictureError(DAMAGED)
        for number in range(blocks.num_blocks):
            decoded = blocks.read(number, first)
            last_row = decoded[-blocks.row_bytes :]
            is_doubtful = last_row.count(first) == len(last_row)
            if not decoded or messages:
                raise PictureError(DAMAGED)
            if is_doubtful and decoded != blocks.read(number, second):
                raise PictureError(DAMAGED)
            yield decoded


def require_written(source: IO[bytes], directory: int) -> None:
    """Decode each strip or tile of a page, keeping none. Raises as :func:`read_blocks` does."""
    deque(read_blocks(source, directory), maxlen=0)


def read_as_rgba(source: IO[bytes], directory: int, width: int, height: int) -> bytes:
    """Decode a page to 8-bit RGBA as libtiff sees it. Raises as :func:`read_blocks` does."""
    rasters = []
    with _opened_page(source, directory) as handle, damage_messages() as messages:
        for pattern in _PATTERNS:
            raster = ctypes.create_string_buffer(width * height * 4)
            ctypes.memset(raster, pattern, len(raster))
            done = _library().TIFFReadRGBAImageOriented(handle, width, height, raster, 1, 1)
            rasters.append(raster.raw)
            if messages or not done:
                raise PictureError(DAMAGED)
    if rasters[0] != rasters[1]:
        raise PictureError(DAMAGED)
    return rasters[0]


@contextmanager
def _opened_page(source: IO[bytes], directory: int) -> Iterator[int]:
    tiff, descriptor = _library(), _create_unnamed()
    try:
        source.seek(0)
        while chunk := source.read(1 << 20):
            os.write(descriptor, chunk)
        os.lseek(descriptor, 0, os.SEEK_SET)  # where libtiff begins to read
        # messages here are about tags: those that matter fail later
        with damage_messages():
            handle = tiff.TIFFFdOpen(descriptor, b"picture", b"rc")  # strips as in the file
            if not handle:
                raise PictureError(DAMAGED)
        try:
            with damage_messages():
                is_open = tiff.TIFFSetSubDirectory(handle, directory)
            if not is_open:
                raise PictureError(DAMAGED)
            yield handle
        finally:
            with damage_messages():
                tiff.TIFFCleanup(handle)  # unlike TIFFClose, leaves the descriptor open
    finally:
        os.close(descriptor)


def _create_unnamed() -> int:
    """Create a file without a name, in memory where the system can; return its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("picture")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


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
