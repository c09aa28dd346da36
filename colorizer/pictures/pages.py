"""Pages and frames: how many pictures a file holds, and where a TIFF's pages are.

A TIFF has pages, which are pictures of their own. GIF, WEBP, PNG and AVIF have frames of an
animation, and a JPEG may hold further pictures (MPO); of these the first stands for the file.
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile
from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2

MAX_PAGES = 1000
"""A file with more is refused: small files can list the same pixels any number of times."""
_TIFF_NEW_SUBFILE_TYPE = 254
_REDUCED_OR_MASK = 0b101
"""Bits of that tag: a smaller version of another page, and a transparency mask."""
_TIFF_SIZE = {256, 257}
"""Tags that every page has: width and height."""


class Pages(NamedTuple):
    """How many pictures a file holds."""

    num_pages: int = 1
    """Pages of a TIFF, without thumbnails and masks; 1 for other formats."""
    num_frames: int = 1
    """Frames of an animation, or pictures in a JPEG; 1 for a TIFF."""


class TiffPage(NamedTuple):
    """Where a page of a TIFF is."""

    frame: int
    """The number of its directory among all, from 0: Pillow counts thumbnails and masks too."""
    directory: int
    """The place of its directory in the file, in bytes."""


def find_tiff_pages(source: BinaryIO) -> list[TiffPage]:
    """The pages of a TIFF, the first 1001 at most; empty for a file of another format.

    The first directory always is a page. A later one is if it has a size, whether or not it can be
    decoded: a last pointer into nowhere, which some programs write, isn't.
    """
    source.seek(0)
    if source.read(4) not in PREFIXES:
        return []
    pages: list[TiffPage] = []
    # a hostile file can make Pillow raise nearly anything: what was found before stands
    with suppress(Exception):
        for frame, (directory, tags) in enumerate(_directories(source)):
            if frame > 0 and not tags.keys() >= _TIFF_SIZE:
                break
            kind = tags.get(_TIFF_NEW_SUBFILE_TYPE)
            if frame == 0 or not (isinstance(kind, int) and kind & _REDUCED_OR_MASK):
                pages.append(TiffPage(frame, directory))
            if len(pages) > MAX_PAGES or frame > 2 * MAX_PAGES:
                break
    return pages or [TiffPage(0, 0)]


def read_tiff_directory(source: BinaryIO, directory: int) -> ImageFileDirectory_v2:
    """The tags of the page whose directory begins at this byte. Raises what Pillow raises."""
    tags = ImageFileDirectory_v2(_read_header(source))
    source.seek(directory)
    tags.load(source)
    return tags


def with_first_page(source: BinaryIO, page: TiffPage) -> io.BytesIO:
    """A copy of a TIFF that begins with another page: its header points to this one."""
    header = _read_header(source)
    source.seek(0)
    copy = io.BytesIO(source.read())
    half = len(header) // 2
    copy.seek(half)
    copy.write(page.directory.to_bytes(half, "little" if header.startswith(b"II") else "big"))
    return copy


def count_frames(picture: ImageFile.ImageFile, source: BinaryIO) -> int:
    """How many frames or pictures the file of an opened picture holds; ``source`` is read again."""
    if picture.format != "GIF":
        return int(getattr(picture, "n_frames", 1))
    # these are counted by seeking, which changes what an opened picture decodes
    with suppress(Exception), Image.open(source, formats=("GIF",)) as again:
        return int(getattr(again, "n_frames", 1))
    return 1  # a frame after the first is broken: the first is still whole


def _directories(source: BinaryIO) -> Iterator[tuple[int, ImageFileDirectory_v2]]:
    """Each directory's place in bytes and its tags, in the order and up to the end of Pillow's."""
    tags = ImageFileDirectory_v2(_read_header(source))
    seen: set[int] = set()
    while tags.next and tags.next not in seen:
        directory = tags.next
        seen.add(directory)
        source.seek(directory)
        tags.load(source)
        yield directory, tags


def _read_header(source: BinaryIO) -> bytes:
    """The 8 bytes, or a BigTIFF's 16, of which the second half says where a page begins."""
    source.seek(0)
    header = source.read(8)
    return header + source.read(8) if header[2] == 43 else header  # as Pillow tells them apart
