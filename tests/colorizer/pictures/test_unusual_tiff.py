"""TIFFs that Pillow opens in no mode: decoded where that is plain, else described in one line."""

import io
import struct
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import AppendingTiffWriter

from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import open_picture, open_with_alpha
from colorizer.pictures.pages import Pages

GREY, RGB, CMYK, LAB, LOG_L = 1, 2, 5, 8, 32844
SIGNED, FLOAT = 2, 3
SGI_LOG, JPEG_XL = 34676, 50002
DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (20, 30, 5)).astype(np.uint8)


def tiff(
    samples: npt.NDArray[np.generic],
    photometric: int,
    *,
    sample_format: int = 1,
    extra_samples: tuple[int, ...] = (),
    compression: int = 1,
    data: bytes | None = None,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """A TIFF in one strip of H×W×N samples, or of ``data`` in their place."""
    height, width, num_samples = samples.shape
    if data is None:
        data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    tags = {
        256: (width,),
        257: (height,),
        258: (samples.dtype.itemsize * 8,) * num_samples,
        259: (compression,),
        262: (photometric,),
        273: (8,),
        277: (num_samples,),
        278: (height,),
        279: (len(data),),
        **({338: extra_samples} if extra_samples else {}),
        339: (sample_format,) * num_samples,
    }
    data += b"\0" * (len(data) % 2)
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in tags.items():
        kind, code = ("I", 4) if tag in (273, 279) else ("H", 3)
        raw = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        place = raw.ljust(4, b"\0")
        if len(raw) > 4:
            place, values = struct.pack(f"{order}I", after + len(values)), values + raw
        entries += struct.pack(f"{order}HHI", tag, code, len(numbers)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    count = struct.pack(f"{order}H", len(tags))
    return head + data + count + entries + bytes(4) + values


def joined(*files: bytes) -> bytes:
    """A TIFF of the pages of several."""
    buffer = io.BytesIO()
    with AppendingTiffWriter(buffer, True) as writer:
        for file in files:
            writer.write(file)
            writer.newFrame()
    return buffer.getvalue()


def palette_page() -> tuple[bytes, Image.Image]:
    """A page that Pillow alone decodes."""
    picture = Image.fromarray(PIXELS[..., 0]).quantize(16)
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression="tiff_lzw")
    return buffer.getvalue(), picture.convert("RGB")


def check(data: bytes, expected: npt.NDArray[np.uint8]) -> None:
    assert np.abs(np.asarray(open_picture(data)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("order", "<>")
def test_deep_rgb_and_grey_keep_their_colours(order: Literal["<", ">"]) -> None:
    for colours, photometric in ((PIXELS[..., :3], RGB), (PIXELS[..., :1], GREY)):
        check(tiff(colours.astype(np.uint32) << 24, photometric, order=order), colours)
        for kind in (np.float32, np.float64):
            samples = (colours / 255).astype(kind)
            check(tiff(samples, photometric, sample_format=FLOAT, order=order), colours)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(tiff(PIXELS[..., :3].astype(np.uint32), RGB)))


@pytest.mark.parametrize("extra", [1, 2])
def test_cmyk_with_alpha_keeps_both(extra: int) -> None:
    samples = PIXELS.copy()
    samples[..., 4] = 255
    samples[:5, :, 4] = 0
    cmyk = Image.frombytes("CMYK", (30, 20), samples[..., :4].tobytes())
    rgb, alpha, _ = open_with_alpha(tiff(samples, CMYK, extra_samples=(extra,)))
    assert np.array_equal(np.asarray(rgb)[5:], np.asarray(cmyk.convert("RGB"))[5:])
    assert (np.asarray(rgb)[:5] == 255).all()
    assert alpha is not None
    assert np.array_equal(np.asarray(alpha), samples[..., 4])


def sgi_log_rows(num_rows: int) -> bytes:
    """Rows of 30 pixels, of a quarter and of full brightness in turn."""
    levels = np.where(np.arange(30) % 2, 64 * 256, 62 * 256)
    planes = (levels >> 8, levels & 255)
    return b"".join(bytes([30]) + plane.astype(np.uint8).tobytes() for plane in planes) * num_rows


def test_sgi_log_becomes_grey_and_is_refused_when_cut() -> None:
    shape = np.zeros((20, 30, 1), np.int16)
    options = {"sample_format": SIGNED, "compression": SGI_LOG}
    got = np.asarray(open_picture(tiff(shape, LOG_L, data=sgi_log_rows(20), **options)))  # type: ignore[arg-type]
    assert got[0, :4, 0].tolist() == [128, 255, 128, 255]
    assert (got == got[0]).all()
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_picture(tiff(shape, LOG_L, data=sgi_log_rows(12), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            tiff(PIXELS[..., :3].astype(np.int32), RGB, sample_format=SIGNED),
            "a TIFF of 3 × 32-bit signed samples, RGB; save it as 8-bit RGB or grey",
        ),
        (tiff(PIXELS[..., :3].astype(np.uint16), LAB), "3 × 16-bit samples, Lab; save it as"),
        (tiff(PIXELS[..., :3], RGB, compression=JPEG_XL), "RGB, JPEG XL; save it as"),
        (
            tiff(PIXELS[..., :3].astype(np.float32) * 900, RGB, sample_format=FLOAT),
            "unknown scale",
        ),
        (tiff(PIXELS[..., :3].astype(np.uint32), RGB, data=b"short"), "damaged or incomplete"),
        (tiff(PIXELS[..., :3], RGB)[:-40], "tags make no sense|truncated|damaged"),
        (b"II*\0" + bytes(20), "tags make no sense"),
    ],
)
def test_what_is_refused_is_told_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason) as refused:
        open_picture(data)
    assert "\n" not in str(refused.value)
    assert "error -" not in str(refused.value)


def test_its_size_is_checked_before_its_samples_are_read() -> None:
    with pytest.raises(PictureError, match="too large: 30×20 px"):
        open_picture(tiff(PIXELS[..., :3].astype(np.uint32), RGB), max_pixels=599)


@pytest.mark.parametrize("unusual", [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)])
def test_each_page_is_decoded_wherever_unusual_ones_are(unusual: tuple[int, ...]) -> None:
    deep = tiff(PIXELS[..., :3].astype(np.uint32) * 0x01010101, RGB), PIXELS[..., :3]
    pages = [deep if number in unusual else palette_page() for number in range(3)]
    data = joined(*(page for page, _ in pages))
    for number, (_, expected) in enumerate(pages):
        decoded = open_with_alpha(data, page=number)
        assert decoded.pages == Pages(num_pages=3)
        assert np.array_equal(np.asarray(decoded.rgb), np.asarray(expected))
    with pytest.raises(PictureError, match="has no page 4, only 3"):
        open_with_alpha(data, page=3)
