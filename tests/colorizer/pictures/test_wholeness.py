"""A picture of which the decoder didn't write every pixel is refused; none shows another's."""

import io
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.pictures import decoder_process
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.decoding_limits import wiped_memory
from tests.colorizer.pictures.damaged import KINDS, Kind, damaged, originals
from tests.colorizer.pictures.png_chunks import png_header, png_of
from tests.faults.report import FULL, report

FILES_PER_KIND = 320 if FULL else 60
PATTERNS = (0x5A, 0xC3)
MARK = b"CLIENT-A'S-PICTURE;"
MAX_PIXELS = 1_000_000


def page(width: int = 160, height: int = 120) -> Image.Image:
    """Dots, so that each row takes many bytes."""
    dots = np.random.default_rng(0).integers(0, 2, (height, width)).astype(bool)
    return Image.fromarray(dots)


def tiff(picture: Image.Image, compression: str, rows_per_strip: int = 1 << 20) -> bytes:
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=compression, tiffinfo={278: rows_per_strip})
    return file.getvalue()


def zeroed(data: bytes, from_share: float) -> bytes:
    """A TIFF whose last strip is zero from a share of its bytes on."""
    with Image.open(io.BytesIO(data)) as picture:
        tags = picture.tag_v2  # type: ignore[attr-defined]
        start, length = tags[273][-1], tags[279][-1]
    at, end = start + int(length * from_share), start + length
    return data[:at] + bytes(end - at) + data[end:]


def png(width: int, height: int, rows: bytes, *, interlaced: bool = False) -> bytes:
    """A grey PNG of right checksums around ``rows``."""
    header = png_header(width, height, interlaced=interlaced)
    return png_of(header, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF whose tag of one SHORT or LONG has another value."""
    at = data.index(struct.pack("<H", tag), struct.unpack("<I", data[4:8])[0])
    return data[: at + 8] + struct.pack("<I", value) + data[at + 12 :]


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_per_strip", [1 << 20, 16])
@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_fax_data_that_ends_early_is_refused_and_whole_data_accepted(
    compression: str, rows_per_strip: int
) -> None:
    data = tiff(page(), compression, rows_per_strip)
    assert np.array_equal(np.asarray(open_picture(data)), np.asarray(page().convert("RGB")))
    for share in (0.05, 0.5, 0.8):
        with pytest.raises(PictureError, match="damaged or incomplete; export it again"):
            open_picture(zeroed(data, share))


def test_an_early_end_in_a_strip_after_another_is_refused() -> None:
    # the strip before left its rows in the decoder's buffer: they are no fresh memory
    data = tiff(page(), "group4", 60)
    assert open_picture(data).size == (160, 120)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_picture(zeroed(data, 0.1))


def test_a_fax_tiff_of_fewer_rows_than_its_header_says_is_refused() -> None:
    data = tiff(page(160, 60), "group4")
    assert open_picture(data).size == (160, 60)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_picture(with_tag(with_tag(data, 257, 120), 278, 120))


@pytest.mark.parametrize("compression", ["jpeg", "packbits", "tiff_lzw"])
def test_what_libtiff_complains_of_is_refused(compression: str) -> None:
    noise = Image.effect_noise((96, 64), 60).convert("RGB")
    data = tiff(noise, compression, 16)
    assert open_picture(data).size == (96, 64)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_picture(zeroed(data, 0.3))


def test_a_raw_tiff_with_fewer_strips_than_rows_is_refused() -> None:
    data = tiff(page().convert("L"), "raw")
    assert open_picture(data).size == (160, 120)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_picture(with_tag(data, 278, 60))  # half the rows in the only strip


def test_a_png_whose_rows_end_early_is_refused() -> None:
    whole = bytes(range(9)) * 8
    rows = b"".join(b"\0" + whole[y * 8 : y * 8 + 8] for y in range(8))
    assert open_picture(png(8, 8, rows)).size == (8, 8)
    with pytest.raises(PictureError):
        open_picture(png(8, 8, rows[: 9 * 5]))
    with pytest.raises(PictureError):
        open_picture(png(8, 8, bytes(40), interlaced=True))


@pytest.mark.parametrize("grey", range(0, 256, 5))
def test_a_flat_picture_in_any_grey_is_accepted(grey: int) -> None:
    # also in the one that memory is filled with
    for width, height in ((1, 1), (5, 2), (9, 7)):
        rows = (b"\0" + bytes([grey]) * width) * height
        assert (np.asarray(open_picture(png(width, height, rows))) == grey).all()


@pytest.mark.parametrize("level", [0xA5, 0x5A])
@pytest.mark.parametrize("compression", ["packbits", "jpeg"])
def test_a_flat_tiff_in_the_grey_that_memory_is_filled_with_is_accepted(
    compression: str, level: int
) -> None:
    data = tiff(Image.new("L", (40, 30), level), compression)
    assert (np.asarray(open_picture(data)) == level).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_whole_pictures_of_every_kind_are_accepted(kind: Kind) -> None:
    for data in originals(kind):
        with Image.open(io.BytesIO(data)) as picture:
            assert open_picture(data).size == picture.size


# --- nothing of another's picture ----------------------------------------------------------------


def marked(side: int) -> Image.Image:
    """A square whose bytes are the mark, again and again."""
    num_bytes = 3 * side**2
    return Image.frombytes("RGB", (side, side), (MARK * num_bytes)[:num_bytes])


def copies_in_memory(pid: int, text: bytes) -> int:
    """How often a process has ``text`` in memory that it can write to."""
    copies = 0
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found:
                start, end = (int(address, 16) for address in found.groups())
                memory.seek(start)
                copies += memory.read(end - start).count(text)
    return copies


def test_a_decoder_holds_nothing_of_a_picture_when_the_next_has_come() -> None:
    with DecoderProcess() as decoder:
        assert decoder.pid is not None
        for side in (6, 20, 350):
            picture = marked(side)
            for format, options in (("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
                file = io.BytesIO()
                picture.save(file, format, **options)
                assert decoder.open(file.getvalue()).tobytes() == picture.tobytes()
                with pytest.raises(PictureError):
                    decoder.open(file.getvalue()[:-50])
                decoder.open(png(4, 4, bytes(20)))
                assert copies_in_memory(decoder.pid, MARK[:12]) == 0, (format, side)


def test_a_decoder_that_does_not_wipe_holds_much_of_a_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoder_process, "wiped_memory", nullcontext)
    file = io.BytesIO()
    marked(350).save(file, "BMP")
    with DecoderProcess() as decoder:
        decoder.open(file.getvalue())
        decoder.open(png(4, 4, bytes(20)))
        assert decoder.pid is not None
        assert copies_in_memory(decoder.pid, MARK[:12]) > 100


# --- two memory patterns -------------------------------------------------------------------------


class PatternedDecoder(DecoderProcess):
    """Its child fills fresh memory with a pattern; so does one that replaces a crashed child."""

    def __init__(self, pattern: int) -> None:
        self.pattern = pattern
        super().__init__(max_pixels=MAX_PIXELS)

    def _start(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoder_process, "wiped_memory", partial(wiped_memory, self.pattern))
            super()._start()


Decoders = tuple[PatternedDecoder, PatternedDecoder]


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """Two that fill fresh memory differently."""
    with PatternedDecoder(PATTERNS[0]) as one, PatternedDecoder(PATTERNS[1]) as other:
        yield one, other


def pixels_of(decoder: DecoderProcess, data: bytes) -> tuple[bytes, bytes] | None:
    """Colours and opacity; None for a picture that is refused."""
    try:
        rgb, alpha, _ = decoder.open_with_alpha(data)
    except PictureError:
        return None
    return rgb.tobytes(), alpha.tobytes() if alpha else b""


def compare_damaged(kind: Kind, count: int, seed: int, decoders: Decoders) -> Counter[str]:
    """Decode damaged pictures under two memory patterns: refused, equal, or differing."""
    outcomes: Counter[str] = Counter()
    for data in damaged(kind, count, seed):
        one, other = (pixels_of(decoder, data) for decoder in decoders)
        outcomes["differing" if one != other else "equal" if one else "refused"] += 1
    return outcomes


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group4", "jpeg"])
def test_damaged_tiffs_are_the_same_in_two_memory_patterns(
    compression: str, decoders: Decoders
) -> None:
    outcomes = compare_damaged(Kind("TIFF", compression), 60, 1, decoders)
    assert outcomes["differing"] == 0
    assert outcomes["refused"] > 10


@pytest.mark.slow
@pytest.mark.timeout(3600 if FULL else 600)
def test_damaged_pictures_of_every_kind_are_the_same_in_two_memory_patterns(
    decoders: Decoders,
) -> None:
    total: Counter[str] = Counter()
    for kind in KINDS:
        outcomes = compare_damaged(kind, FILES_PER_KIND, 2, decoders)
        report(f"two memory patterns, {kind}: {dict(outcomes)}")
        total += outcomes
    report(f"two memory patterns, all {total.total()} files: {dict(total)}")
    assert total["differing"] == 0
    assert total["equal"] > 100
