"""TIFFs that Pillow opens in no mode: decoded where that is plain, else described in one line."""

import io
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import AppendingTiffWriter

from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import open_picture, open_with_alpha
from colorizer.pictures.pages import Pages

WHITE_IS_ZERO, GREY, RGB, CMYK, LAB, LOG_L = 0, 1, 2, 5, 8, 32844
SIGNED, FLOAT = 2, 3
SGI_LOG, JPEG_XL = 34676, 50002
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 5)).astype(np.uint8)


class Blocks(NamedTuple):
    """How samples lie in the file."""

    rows: int = 0
    """Of a strip or tile; 0 for all."""
    columns: int = 0
    """Of a tile, a multiple of 16 as its rows are; 0 for strips."""
    is_planar: bool = False

    def cut(self, samples: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
        """H×W×N in the file's order; tiles at the edges are filled up with zeros."""
        height, width, num_samples = samples.shape
        planes = np.split(samples, num_samples, axis=2) if self.is_planar else [samples]
        rows, columns = self.rows or height, self.columns or width
        for plane in planes:
            for top in range(0, height, rows):
                for left in range(0, width, columns):
                    block = plane[top : top + rows, left : left + columns]
                    missing = (rows - len(block)) if self.columns else 0
                    padding = ((0, missing), (0, columns - block.shape[1]), (0, 0))
                    yield np.pad(block, padding)


ONE_STRIP = Blocks()


def tiff(
    samples: npt.NDArray[np.generic],
    photometric: int,
    *,
    sample_format: int = 1,
    extra_samples: tuple[int, ...] = (),
    compression: int = 1,
    orientation: int = 1,
    blocks: Blocks = ONE_STRIP,
    data: bytes | None = None,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """A TIFF of H×W×N samples, or of ``data`` in place of their only strip."""
    height, width, num_samples = samples.shape
    encoded = [data or b""]
    if data is None:
        ordered = samples.astype(samples.dtype.newbyteorder(order))
        encoded = [block.tobytes() for block in blocks.cut(ordered)]
    lengths = tuple(map(len, encoded))
    offsets = tuple(8 + sum(lengths[:number]) for number in range(len(lengths)))
    places: dict[int, tuple[int, ...]] = {
        273: offsets,
        278: (blocks.rows or height,),
        279: lengths,
    }
    if blocks.columns:
        places = {322: (blocks.columns,), 323: (blocks.rows,), 324: offsets, 325: lengths}
    data = b"".join(encoded)
    tags = {
        256: (width,),
        257: (height,),
        258: (samples.dtype.itemsize * 8,) * num_samples,
        259: (compression,),
        262: (photometric,),
        274: (orientation,),
        277: (num_samples,),
        284: (2 if blocks.is_planar else 1,),
        **places,
        **({338: extra_samples} if extra_samples else {}),
        339: (sample_format,) * num_samples,
    }
    data += b"\0" * (len(data) % 2)
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        kind, code = ("I", 4) if tag in (273, 279, 324, 325) else ("H", 3)
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


def assert_decoded(data: bytes, expected: npt.NDArray[np.uint8]) -> None:
    assert np.abs(np.asarray(open_picture(data)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("order", "<>")
def test_deep_rgb_and_grey_keep_their_colours(order: Literal["<", ">"]) -> None:
    for colours, photometric in ((PIXELS[..., :3], RGB), (PIXELS[..., :1], GREY)):
        assert_decoded(tiff(colours.astype(np.uint32) << 24, photometric, order=order), colours)
        for kind in (np.float32, np.float64):
            samples = (colours / 255).astype(kind)
            assert_decoded(tiff(samples, photometric, sample_format=FLOAT, order=order), colours)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(tiff(PIXELS[..., :3].astype(np.uint32), RGB)))


@pytest.mark.parametrize(
    "blocks",
    [Blocks(rows=7), Blocks(rows=16, columns=16), Blocks(rows=7, is_planar=True)],
    ids=["strips", "tiles", "planes of strips"],
)
def test_samples_are_put_where_their_strip_or_tile_lies(blocks: Blocks) -> None:
    deep = PIXELS[..., :3].astype(np.uint32) << 24
    assert_decoded(tiff(deep, RGB, blocks=blocks), PIXELS[..., :3])


def test_a_deep_picture_is_turned_upright() -> None:
    deep = PIXELS[..., :3].astype(np.uint32) << 24
    assert_decoded(tiff(deep, RGB, orientation=6), np.rot90(PIXELS[..., :3], -1))


def test_white_may_be_zero() -> None:
    assert_decoded(
        tiff(1 - PIXELS[..., :1] / 255, WHITE_IS_ZERO, sample_format=FLOAT), PIXELS[..., :1]
    )


@pytest.mark.parametrize("extra", [1, 2])
def test_deep_rgb_with_alpha_is_composited_on_white(extra: int) -> None:
    """Also where colours were multiplied by their alpha before (1)."""
    opacity = np.full((20, 30, 1), 0.5)
    colours = PIXELS[..., :3] / 255
    samples = np.dstack([colours * opacity if extra == 1 else colours, opacity])
    data = tiff(samples, RGB, sample_format=FLOAT, extra_samples=(extra,))
    expected = (colours / 2 + 0.5) * 255
    assert np.abs(np.asarray(open_picture(data)) - expected).max() <= 2


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
        open_picture(tiff(PIXELS[..., :3].astype(np.uint32), RGB, data=b""), max_pixels=599)


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
