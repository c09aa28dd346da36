import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colorizer.errors import PictureError
from colorizer.pictures import fit_sketch, fit_square, open_picture, to_grey


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    picture = open_picture(content)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_a_16_bit_ramp_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    grey = pixels_of(encode(Image.fromarray(ramp)))[0, :, 0]
    assert np.abs(grey.astype(int) - np.arange(256)).max() <= 1


def test_transparent_line_art_lies_on_white() -> None:
    art = np.zeros((8, 8, 4), np.uint8)
    art[4, :, 3] = 255
    pixels = pixels_of(encode(Image.fromarray(art)))
    assert (pixels[4] == 0).all()
    assert (pixels[0] == 255).all()


@pytest.mark.parametrize("mode", ["LA", "P", "1", "L", "RGBA"])
def test_every_mode_gives_the_same_black_line(mode: str) -> None:
    line = Image.new("L", (8, 8), 255)
    line.paste(0, (0, 4, 8, 5))
    pixels = pixels_of(encode(line.convert("RGB").convert(mode)))
    assert (pixels[4] == 0).all()
    assert (pixels[0] == 255).all()


def test_a_palettes_transparent_colour_is_white() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.putpixel((1, 1), 1)
    pixels = pixels_of(encode(picture, transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [0, 0, 200]


def test_cmyk_is_converted() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    pixel = pixels_of(encode(cyan, "JPEG", quality=95))[8, 8]
    assert pixel[0] < 40
    assert pixel[1:].min() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations_come_upright(orientation: int) -> None:
    upright = np.zeros((16, 8), np.uint8)
    upright[:8, :4] = 255  # a bright corner, top left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert np.array_equal(pixels_of(content)[..., 0], upright)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(content)[0, 0].tolist() == [255, 0, 0]


def png_bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (b"just text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (encode(Image.effect_noise((64, 64), 80))[:-200], "broken"),
        (encode(Image.effect_noise((64, 64), 80), "JPEG")[:900], "broken"),
        (png_bomb(30_000, 30_000), "too large"),
        (png_bomb(10_000, 10_000), "too large"),
    ],
)
def test_what_is_no_sane_picture_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as refused:
        open_picture(content)
    assert str(refused.value).startswith(reason)
    assert "\n" not in str(refused.value)


def test_the_bound_of_pixels_is_the_callers() -> None:
    content = encode(Image.new("L", (100, 100)))
    assert open_picture(content, max_pixels=10_000).size == (100, 100)
    with pytest.raises(PictureError, match="at most 9999 px"):
        open_picture(content, max_pixels=9_999)


def test_grey_is_rec_601_luma() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_grey(rgb)[0].tolist() == [76, 150, 29, 255]


@pytest.mark.parametrize("size", [(100, 50), (50, 100), (64, 64), (3, 200), (10, 10)])
def test_a_fitted_picture_can_be_cut_out_again(size: tuple[int, int]) -> None:
    square, placement = fit_square(Image.new("RGB", size, (0, 0, 0)), 64)
    assert square.shape == (64, 64, 3)
    cut = placement.cut(square)
    assert (cut == 0).all()
    assert square.size - (square == 0).sum() == square.size - cut.size
    assert max(cut.shape[:2]) == 64
    assert abs(cut.shape[1] / cut.shape[0] - size[0] / size[1]) <= 0.5 * max(1, size[0] / size[1])


def test_a_thin_line_survives_shrinking() -> None:
    sketch = Image.new("L", (512, 512), 255)
    sketch.paste(0, (256, 0, 258, 512))
    square, _ = fit_sketch(sketch, 64)
    assert square.shape == (64, 64)
    assert square[32].min() < 230
    assert square[32, :24].min() == 255
