"""Fuzzing: thousands of mutated pictures through the decoder process."""

import io
import os
import random
import re
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.png_checksums import SIGNATURE
from tests.faults.report import FULL, report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600 if FULL else 600),
    pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning"),
]

FILES_PER_FORMAT = 7000 if FULL else 400
MAX_PIXELS = 1_000_000
LIMIT_S = 10.0
MEMORY_BOUND_MIB = 800


class Mutant(NamedTuple):
    data: bytes
    original: bytes
    is_sealed: bool
    """The checksums are valid, so only the decoder can detect the damage."""


def originals(format: str) -> list[bytes]:
    """Pictures of several modes and sizes, of noise and of flat colour."""
    modes = {"PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"], "JPEG": ["L", "RGB", "CMYK"]}
    found = []
    for number, mode in enumerate(modes.get(format, ["RGB", "RGBA"])):
        for width, height in ((1, 1), (17, 9), (96, 64)):
            noise = np.random.default_rng(number).integers(0, 256, (height, width, 4), np.uint8)
            noise[: height // 2] = (200, 30, 40, 255)
            image = Image.fromarray(noise)
            picture = image if mode == "RGBA" else image.convert("RGB").convert(_via(mode))
            if mode == "I;16":
                picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
            file = io.BytesIO()
            options = {"lossless": bool(number % 2)} if format == "WEBP" else {}
            picture.save(file, format, **options)
            found.append(file.getvalue())
    if format == "JPEG":
        file = io.BytesIO()
        Image.effect_noise((64, 48), 60).convert("RGB").save(file, format, progressive=True)
        found.append(file.getvalue())
    return found


def _via(mode: str) -> str:
    return "L" if mode == "I;16" else mode


# --- mutations: each takes the bytes, another picture's bytes, and a random generator ------------


def flip_bits(data: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _unused in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite_run(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.randrange(1, 64)
    run = rng.choice((b"\0", b"\xff", rng.randbytes(1))) * length
    return data[:at] + run + data[at + length :]


def truncate(data: bytes, _: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def insert_or_delete(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        return data[:at] + rng.randbytes(rng.randrange(1, 32)) + data[at:]
    return data[:at] + data[at + rng.randrange(1, 32) :]


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def set_length_field(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(1, len(data) - 4))
    value = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.randrange(1 << 32)))
    return data[:at] + struct.pack(rng.choice("<>") + "I", value) + data[at + 4 :]


def append(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((other, rng.randbytes(100), bytes(1000)))


MUTATIONS: list[Callable[[bytes, bytes, random.Random], bytes]] = [
    flip_bits,
    overwrite_run,
    truncate,
    insert_or_delete,
    splice,
    set_length_field,
    append,
]


def mutate_chunk(data: bytes, _: bytes, rng: random.Random) -> bytes:
    """Change a PNG's chunks (header values, picture data, order); checksums stay valid."""
    chunks = png_chunks(data)
    index = rng.randrange(len(chunks) - 1)
    kind, content = chunks[index]
    if rng.random() < 0.2:
        other = rng.randrange(len(chunks) - 1)
        chunks[index], chunks[other] = chunks[other], chunks[index]
    elif kind == b"IDAT" and rng.random() < 0.5:  # zlib's checksum is valid, too
        rows = bytearray(zlib.decompress(content))
        for _unused in range(4):
            rows[rng.randrange(len(rows))] = rng.randrange(256)
        chunks[index] = (kind, zlib.compress(bytes(rows[: rng.randrange(1, len(rows) + 1)])))
    else:
        chunks[index] = (kind, flip_bits(content or b"\0", b"", rng))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def mutants(format: str, count: int) -> list[Mutant]:
    rng, pictures = random.Random(6), originals(format)
    made = []
    for _ in range(count):
        original, other = rng.choice(pictures), rng.choice(pictures)
        is_sealed = format == "PNG" and rng.random() < 0.4
        mutation = mutate_chunk if is_sealed else rng.choice(MUTATIONS)
        made.append(Mutant(mutation(original, other, rng), original, is_sealed))
    return made


def decode_with_torchvision(data: bytes, format: str) -> np.ndarray | None:
    """The picture as torchvision decodes it, on white; None if it can't."""
    from torchvision.io import ImageReadMode, decode_jpeg, decode_webp

    tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        if format == "JPEG":
            decoded = decode_jpeg(tensor, mode=ImageReadMode.RGB)
        else:
            decoded = decode_webp(tensor, mode=ImageReadMode.RGB_ALPHA)
    except RuntimeError:
        return None
    pixels: np.ndarray = decoded.permute(1, 2, 0).numpy()
    if pixels.shape[2] == 4:
        opaque = pixels[..., 3:] / 255
        pixels = np.rint(pixels[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_mutated_pictures_neither_crash_nor_hang_the_decoder_nor_change_silently(
    format: str,
) -> None:
    kinds: Counter[str] = Counter()
    start_s = time.monotonic()
    with DecoderProcess(max_pixels=MAX_PIXELS, limit_s=LIMIT_S) as decoder:
        pid = decoder.pid
        for mutant in mutants(format, FILES_PER_FORMAT):
            try:
                picture = decoder.open(mutant.data)
            except PictureError as refused:
                kinds[str(refused).split(":")[0].split("(")[0].strip()] += 1
                assert "\n" not in str(refused)  # noqa: PT017
                continue
            kinds["accepted"] += 1
            kinds[judge(mutant, picture, format)] += 1
        assert decoder.pid == pid, "the decoder process was restarted"
        status = Path(f"/proc/{pid}/status").read_text()
        peak_mib = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) >> 10
    elapsed_s = time.monotonic() - start_s
    assert not kinds["crashes its decoder"]
    assert not any(kind.startswith("stalls") for kind in kinds)
    assert not kinds["WRONG"]
    assert peak_mib < MEMORY_BOUND_MIB
    summary = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    report(
        f"fuzz {format}: {FILES_PER_FORMAT} files in {elapsed_s:.0f} s; {summary}; crashes 0,"
        f" hangs 0, peak {peak_mib} MiB"
    )


def judge(mutant: Mutant, picture: Image.Image, format: str) -> str:
    """Compare an accepted mutant with its original, or with another decoder's picture."""
    pixels = np.asarray(picture)
    before = np.asarray(open_picture(mutant.original))
    if pixels.shape == before.shape and np.array_equal(pixels, before):
        return "… as the original"
    if format == "PNG":
        return "… another picture, its checksums right" if mutant.is_sealed else "WRONG"
    other = decode_with_torchvision(mutant.data, format)
    if other is None:
        return "… which another decoder rejects"
    if other.shape == pixels.shape and np.abs(other.astype(int) - pixels).max() <= 2:
        return "… as another decoder has it"
    return "… and another decoder differs"


def test_unusual_pictures_are_decoded_or_refused_as_without_the_process() -> None:
    folder = os.environ.get("COLORIZER_DATA")
    if not folder:
        pytest.skip("COLORIZER_DATA names no folder")
    import zipfile

    counts: Counter[str] = Counter()
    with zipfile.ZipFile(Path(folder) / "odd-images.zip") as archive, DecoderProcess() as decoder:
        pid = decoder.pid
        for name in archive.namelist():
            data = archive.read(name)
            try:
                expected = np.asarray(open_picture(data))
            except PictureError as refused:
                with pytest.raises(PictureError) as again:
                    decoder.open(data)
                assert str(again.value) == str(refused)  # noqa: PT017
                counts["refused"] += 1
                continue
            assert np.array_equal(np.asarray(decoder.open(data)), expected)
            counts["accepted"] += 1
        assert decoder.pid == pid
    report(f"unusual pictures through the decoder process: {dict(counts)}, crashes 0, hangs 0")
