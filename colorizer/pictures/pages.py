"""Pages and frames: how many pictures a file holds, and which of them is decoded.

A TIFF has pages, which are pictures of their own. GIF, WEBP, PNG and AVIF have frames of an
animation, and a JPEG may hold further pictures (MPO); of these the first stands for the file.
"""

from contextlib import suppress
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile

from colorizer.base.errors import PictureError

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


def seek_page(picture: ImageFile.ImageFile, page: int) -> None:
    """Turn an opened picture to a page, counted from 0. Raises :class:`PictureError`."""
    if page == 0:
        return
    frames = _page_frames(picture, page + 1) if picture.format == "TIFF" else [0]
    if page >= len(frames):
        raise PictureError(f"has no page {page + 1}, only {len(frames)}")
    picture.seek(0)  # or a page whose header failed just now would count as opened
    picture.seek(frames[page])


def count_pages(picture: ImageFile.ImageFile, source: BinaryIO, start: int) -> Pages:
    """How many pictures the file of an opened picture holds.

    ``source`` is read again from ``start``.
    """
    if picture.format not in ("TIFF", "GIF"):
        return Pages(num_frames=int(getattr(picture, "n_frames", 1)))
    # these are counted by seeking, which changes what an opened picture decodes
    source.seek(start)
    with Image.open(source, formats=(picture.format,)) as again:
        if again.format == "TIFF":
            return Pages(num_pages=len(_page_frames(again, MAX_PAGES + 1)))
        with suppress(Exception):  # a frame after the first is broken: the first is still whole
            return Pages(num_frames=int(getattr(again, "n_frames", 1)))
    return Pages()


def _page_frames(picture: ImageFile.ImageFile, at_most: int) -> list[int]:
    """The TIFF directories that are pages; the first always is."""
    frames = [0]
    for frame in range(1, 2 * at_most):
        if len(frames) >= at_most or not _has_directory(picture, frame):
            break
        kind = picture.tag_v2.get(_TIFF_NEW_SUBFILE_TYPE)  # type: ignore[attr-defined]
        if not (isinstance(kind, int) and kind & _REDUCED_OR_MASK):
            frames.append(frame)
    return frames


def _has_directory(picture: ImageFile.ImageFile, frame: int) -> bool:
    """Whether a TIFF has this directory; the picture is left there.

    A page that Pillow can't decode is one too, and fails by name when it is opened. A last pointer
    into nowhere, which some programs write, isn't.
    """
    try:
        picture.seek(frame)
    except EOFError:
        return False
    except Exception:  # a hostile file can make Pillow raise nearly anything
        is_read = picture.tell() == frame
        return is_read and picture.tag_v2.keys() >= _TIFF_SIZE  # type: ignore[attr-defined]
    return True
