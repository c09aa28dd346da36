"""Decoding of all formats and modes, which training and serving share, and what is refused."""

import contextlib
import io
import os
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import open_picture
from tests.colorizer.pictures.png_chunks import png_header, png_of

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3


def encode(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    picture = open_picture(data)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def png_with_header(width: int, height: int) -> bytes:
    """A PNG with a size in its header and no pixels."""
    return png_of(png_header(width, height, colour_type=2), (b"IDAT", b""))


# --- formats and modes ---------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF", "JPEG2000"])
def test_each_lossless_format_gives_its_pixels(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    data = encode(
        Image.fromarray(noise), format, **({"lossless": True} if format == "WEBP" else {})
    )
    assert np.array_equal(pixels(data), noise)


@pytest.mark.parametrize(("format", "bound"), [("JPEG", 4), ("GIF", 0), ("AVIF", 4)])
def test_flat_colour_survives_jpeg_gif_and_avif(format: str, bound: int) -> None:
    data = encode(Image.new("RGB", (16, 16), (200, 60, 30)), format)
    assert np.abs(pixels(data).astype(int) - (200, 60, 30)).max() <= bound


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_ramp_is_scaled_not_clipped(format: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    grey = pixels(encode(Image.fromarray(ramp), format))[..., 0]
    assert np.array_equal(grey.ravel(), np.arange(256))


def test_big_endian_and_32_bit_tiff_ramps_are_scaled() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for values in (ramp.astype(">u2"), ramp.astype(np.int32), ramp.astype(np.float32)):
        grey = pixels(encode(Image.fromarray(values), "TIFF"))[..., 0]
        assert np.array_equal(grey.ravel(), np.arange(256)), values.dtype


def test_unit_float_is_scaled_to_white() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(
        pixels(encode(Image.fromarray(ramp), "TIFF"))[..., 0].ravel(), np.arange(256)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.0, 1e6])
def test_grey_of_unknown_scale_is_refused(value: float) -> None:
    picture = Image.fromarray(np.full((8, 8), value, np.float32))
    with pytest.raises(PictureError, match="unknown scale"):
        open_picture(encode(picture, "TIFF"))


def test_16_bit_grey_where_white_is_zero_is_inverted() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    data = encode(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0})
    assert np.array_equal(pixels(data)[..., 0].ravel(), np.arange(256)[::-1])


def test_transparent_line_art_is_composited_on_white() -> None:
    lines = Image.new("RGBA", (12, 12), (0, 0, 0, 0))
    lines.paste((0, 0, 0, 255), (5, 0, 7, 12))
    lines.putpixel((0, 0), (0, 0, 0, 128))
    for data in (encode(lines, "PNG"), encode(lines, "WEBP", lossless=True)):
        got = pixels(data)
        assert (got[:, 5:7] == 0).all()
        assert (got[1:, :5] == 255).all()
        assert abs(int(got[0, 0, 0]) - 127) <= 1
    assert (pixels(encode(lines.convert("LA"), "PNG"))[1:, :5] == 255).all()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putdata([0, 1, 2, 0])
    got = pixels(encode(picture, "PNG", transparency=transparency))
    assert got[0].tolist() == [list(RED), list(WHITE), list(BLUE), list(RED)]


@pytest.mark.parametrize(
    ("mode", "transparent", "opaque"),
    [("L", 0, 90), ("RGB", (1, 2, 3), (1, 2, 4)), ("1", 0, 255), ("I;16", 300, 25700)],
)
def test_transparent_sample_is_white(mode: str, transparent: Any, opaque: Any) -> None:
    picture = Image.new(mode, (2, 1), opaque)
    picture.putpixel((0, 0), transparent)
    got = pixels(encode(picture, "PNG", transparency=transparent))
    assert got[0, 0].tolist() == [255, 255, 255]
    opaque_grey = 100 if mode == "I;16" else opaque
    assert got[0, 1].tolist() == np.broadcast_to(opaque_grey, 3).tolist()


def test_transparent_sample_of_4_bit_grey_is_white() -> None:
    data = png_of(
        png_header(2, 1, bits=4),
        (b"tRNS", struct.pack(">H", 3)),
        (b"IDAT", zlib.compress(b"\0\x36")),
        (b"IEND", b""),
    )
    assert pixels(data)[0, :, 0].tolist() == [255, 6 * 17]


@pytest.mark.parametrize("mode", ["LA", "P", "1", "L", "RGBA"])
def test_every_mode_gives_the_same_black_line(mode: str) -> None:
    line = Image.new("L", (8, 8), 255)
    line.paste(0, (0, 4, 8, 5))
    got = pixels(encode(line.convert("RGB").convert(mode), "PNG"))
    assert (got[4] == 0).all()
    assert (got[0] == 255).all()


def test_cmyk_becomes_rgb() -> None:
    for format in ("JPEG", "TIFF"):
        data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), format)
        assert np.abs(pixels(data).astype(int) - RED).max() <= 4


def test_one_bit_and_lab_become_rgb() -> None:
    checks = Image.new("1", (2, 1))
    checks.putpixel((1, 0), 255)
    assert pixels(encode(checks, "PNG"))[0].tolist() == [list(BLACK), list(WHITE)]
    white = Image.new("LAB", (1, 1), (255, 128, 128))
    assert pixels(encode(white, "TIFF")).min() >= 253


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    for format in ("GIF", "PNG", "WEBP"):
        data = encode(frames[0], format, save_all=True, append_images=frames[1:])
        assert np.abs(pixels(data).astype(int) - RED).max() <= 4, format


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    # corners of the upright picture: red, green / blue, white
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24], upright[16:, 24:] = (
        RED,
        GREEN,
        BLUE,
        WHITE,
    )
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = pixels(encode(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif))
    assert got.shape == upright.shape
    corners = got[[4, 4, 28, 28], [4, 44, 4, 44]].astype(int)
    assert np.abs(corners - [RED, GREEN, BLUE, WHITE]).max() <= 12


def test_path_bytes_and_file_give_the_same(tmp_path: Path) -> None:
    data = encode(Image.new("RGB", (5, 4), RED), "PNG")
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        pictures = [open_picture(path), open_picture(data), open_picture(file)]
        assert not file.closed
    assert len({picture.tobytes() for picture in pictures}) == 1


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture"),
        (b"just text", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|broken"),
        (png_with_header(100_000, 100_000), "too large"),
        (png_with_header(8_000, 8_000), "too large: 8000×8000 px"),
        (png_with_header(0, 9), "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"P6 2 2 255\n" + bytes(12), "not a picture"),
    ],
)
def test_hostile_files_are_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason) as caught:
        open_picture(data)
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    "format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000"]
)
def test_truncated_file_is_refused(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    data = encode(Image.fromarray(noise), format)
    with pytest.raises(PictureError, match=r"^broken|^not a picture"):
        open_picture(data[: len(data) // 2])


def test_flipped_bytes_raise_no_other_error() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    draw = np.random.default_rng(1)
    for format in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        data = np.frombuffer(encode(Image.fromarray(noise), format), np.uint8)
        for _ in range(60):
            changed = data.copy()
            changed[draw.integers(0, len(data), 3)] = draw.integers(0, 256, 3)
            with contextlib.suppress(PictureError):
                assert open_picture(changed.tobytes()).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_a_flipped_bit_in_a_png_never_gives_other_pixels(mode: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    data = encode(Image.fromarray(noise).convert(mode), "PNG")
    expected = np.asarray(open_picture(data))
    draw = random.Random(2)
    for _ in range(500):
        flipped = bytearray(data)
        flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        try:
            picture = open_picture(bytes(flipped))
        except PictureError:
            continue
        assert np.array_equal(np.asarray(picture), expected)


def test_a_png_without_its_end_is_refused() -> None:
    data = encode(Image.new("RGB", (8, 8)), "PNG")
    with pytest.raises(PictureError, match="ends before its IEND"):
        open_picture(data[:-12])
    open_picture(data + b"what follows the end is not the picture's")


def test_two_pngs_joined_are_refused() -> None:
    first, second = (encode(Image.new("RGB", (size, size)), "PNG") for size in (8, 4))
    with pytest.raises(PictureError, match="two IHDR chunks"):
        open_picture(first[:33] + second[8:])


def test_the_caller_sets_the_limit_of_pixels() -> None:
    data = encode(Image.new("RGB", (20, 10)), "PNG")
    assert open_picture(data, max_pixels=200).size == (20, 10)
    with pytest.raises(PictureError, match="at most 199 px"):
        open_picture(data, max_pixels=199)
    with pytest.raises(ValueError, match="max_pixels"):
        open_picture(data, max_pixels=0)


def test_missing_path_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file"):
        open_picture(tmp_path / "none.png")


def test_no_warning_is_emitted_and_the_filters_are_unchanged() -> None:
    # 100 million pixels: Pillow would only warn
    filters = list(warnings.filters)
    with pytest.raises(PictureError, match=r"too large|broken|not a picture"):
        open_picture(png_with_header(10_000, 10_000), max_pixels=150_000_000)
    assert warnings.filters == filters


def test_decoding_in_threads_leaves_the_warning_filters_unchanged() -> None:
    data = encode(Image.new("RGB", (64, 64)), "PNG")
    filters = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [open_picture(data) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters


@pytest.mark.slow
def test_unusual_images_are_decoded_or_refused_as_by_pillow() -> None:
    """Except a wrong checksum, which Pillow accepts, and samples that only libtiff knows."""
    folder = os.environ.get("COLORIZER_DATA")
    if not folder:
        pytest.skip("COLORIZER_DATA names no folder")
    import csv
    import zipfile

    with zipfile.ZipFile(Path(folder) / "odd-images.zip") as archive:
        table = io.StringIO(archive.read("verdicts.csv").decode())
        for line in csv.DictReader(table):
            try:
                open_picture(archive.read(line["path"]))
                is_accepted = True
            except PictureError:
                is_accepted = False
            is_expected = line["pillow_verdict"] in ("ok", "warns")
            is_expected &= line["path"] != "pngsuite/xcsn0g01.png"
            is_expected |= line["path"].endswith("hopper_unknown_pixel_mode.tif")
            assert is_accepted == is_expected, line["path"]
