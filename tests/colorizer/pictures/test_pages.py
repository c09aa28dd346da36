"""Pages and frames are counted, and each page of a TIFF decodes to its own pixels."""

import io
import struct
from collections.abc import Sequence

import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import open_with_alpha
from colorizer.pictures.pages import Pages

NEW_SUBFILE_TYPE = 254
LEVELS = (250, 90, 10)


def tiff(subfile_types: Sequence[int] = (0, 0, 0), **options: object) -> bytes:
    """Pages of growing width, each in one of LEVELS."""
    buffer = io.BytesIO()
    with AppendingTiffWriter(buffer, True) as writer:
        for number, (kind, level) in enumerate(zip(subfile_types, LEVELS, strict=False)):
            page = Image.new("L", (20 + number, 10), level)
            page.save(writer, "TIFF", tiffinfo={NEW_SUBFILE_TYPE: kind}, **options)
            writer.newFrame()
    return buffer.getvalue()


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 10), (level, 0, 0)) for level in LEVELS]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def directories(data: bytes | bytearray) -> list[int]:
    """Where a little-endian TIFF's directories begin."""
    found, offset = [], struct.unpack_from("<I", data, 4)[0]
    while offset:
        found.append(offset)
        offset = struct.unpack_from("<I", data, end_of(data, offset))[0]
    return found


def end_of(data: bytes | bytearray, directory: int) -> int:
    return int(directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_every_page_of_a_tiff_decodes_to_its_own_pixels(compression: str | None) -> None:
    data = tiff(compression=compression)
    for number, level in enumerate(LEVELS):
        decoded = open_with_alpha(data, page=number)
        assert decoded.pages == Pages(num_pages=3)
        assert decoded.rgb.size == (20 + number, 10)
        assert decoded.rgb.getpixel((0, 0)) == (level,) * 3
    with pytest.raises(PictureError, match="has no page 4, only 3"):
        open_with_alpha(data, page=3)


def test_a_decoder_process_decodes_the_requested_page() -> None:
    with DecoderProcess() as decoder:
        decoded = decoder.open_with_alpha(tiff(), page=2)
        assert (decoded.rgb.size, decoded.pages) == ((22, 10), Pages(num_pages=3))
        assert decoder.open_with_alpha(tiff()).rgb.size == (20, 10)


def test_thumbnails_and_masks_are_no_pages() -> None:
    thumbnail, mask, page = 1, 4, 2
    assert open_with_alpha(tiff((0, thumbnail, page)), page=1).rgb.size == (22, 10)
    assert open_with_alpha(tiff((0, mask))).pages == Pages()


def test_a_page_that_cannot_be_decoded_is_counted_and_refused() -> None:
    data = bytearray(tiff())
    second = directories(data)[1]
    for entry in range(second + 2, end_of(data, second), 12):
        if struct.unpack_from("<H", data, entry)[0] == 259:  # compression
            struct.pack_into("<H", data, entry + 8, 65000)
    assert open_with_alpha(bytes(data)).pages == Pages(num_pages=3)
    with pytest.raises(PictureError):
        open_with_alpha(bytes(data), page=1)
    assert open_with_alpha(bytes(data), page=2).rgb.size == (22, 10)


def test_a_page_is_decoded_without_the_palette_of_the_one_before() -> None:
    buffer = io.BytesIO()
    red, blue = Image.new("RGB", (20, 10), "red"), Image.new("RGB", (20, 10), "blue")
    red.quantize(4).save(buffer, "TIFF", save_all=True, append_images=[blue])
    for page, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        assert open_with_alpha(buffer.getvalue(), page=page).rgb.getpixel((0, 0)) == colour


@pytest.mark.parametrize("is_big", [False, True])
def test_pages_behind_a_first_one_that_is_refused_are_decoded(is_big: bool) -> None:
    data = bytearray(tiff(big_tiff=is_big))
    compression = data.index(struct.pack("<HH", 259, 3))
    struct.pack_into("<H", data, compression + (12 if is_big else 8), 65000)
    with pytest.raises(PictureError):
        open_with_alpha(bytes(data))
    for page in (1, 2):
        decoded = open_with_alpha(bytes(data), page=page)
        assert (decoded.rgb.size, decoded.pages) == ((20 + page, 10), Pages(num_pages=3))


@pytest.mark.parametrize("pointer", [7, 8, 10**6, 2**32 - 1])
def test_a_last_pointer_into_nowhere_is_no_page(pointer: int) -> None:
    data = bytearray(tiff((0,)))
    struct.pack_into("<I", data, end_of(data, directories(data)[0]), pointer)
    assert open_with_alpha(bytes(data)).pages == Pages()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_are_counted_and_the_first_is_taken(kind: str) -> None:
    decoded = open_with_alpha(animation(kind))
    assert decoded.pages == Pages(num_frames=3)
    assert decoded.rgb.getpixel((0, 0))[0] > 200  # type: ignore[index]


def test_a_broken_later_frame_leaves_the_first() -> None:
    data = animation("GIF")
    decoded = open_with_alpha(data[: len(data) - 25])
    assert decoded.rgb.size == (20, 10)
