import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.decoding_limits import decoding_bytes, limit_memory


def png(width: int = 40, height: int = 30, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    with DecoderProcess() as decoder:
        yield decoder


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_picture_is_the_same_as_without_the_process(
    decoder: DecoderProcess, tmp_path: Path, mode: str
) -> None:
    data = png(mode=mode)
    path = tmp_path / "sketch.png"
    path.write_bytes(data)
    expected = np.asarray(open_picture(data))
    for picture in (data, path):
        assert np.array_equal(np.asarray(decoder.open(picture)), expected)


def test_a_bad_picture_is_refused_with_the_same_reason(
    decoder: DecoderProcess, tmp_path: Path
) -> None:
    for picture in (b"", b"no picture", png()[:-20], tmp_path / "missing.png"):
        with pytest.raises(PictureError) as expected:
            open_picture(picture)
        with pytest.raises(PictureError) as refused:
            decoder.open(picture)
        assert str(refused.value) == str(expected.value)


def test_after_a_crash_only_that_picture_fails(decoder: DecoderProcess, tmp_path: Path) -> None:
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)  # opening it blocks, since there is no writer
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(PictureError) as error:
            decoder.open(fifo)
        refused.append(str(error.value))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)  # until the request was sent; the decoder may not have opened the file yet
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGSEGV)
    thread.join(20)
    assert refused == ["crashes its decoder (exit code -11)"]
    assert decoder.open(png()).size == (40, 30)


def test_a_hanging_decoder_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)
    with DecoderProcess(limit_s=0.2) as decoder:
        with pytest.raises(PictureError, match=r"stalls its decoder: more than 0\.2 s"):
            decoder.open(fifo)
        decoder.limit_s = 60.0  # the next process must not be killed on a busy machine
        assert decoder.open(png()).size == (40, 30)


def test_max_pixels_is_enforced(decoder: DecoderProcess) -> None:
    with DecoderProcess(max_pixels=100) as narrow, pytest.raises(PictureError, match="too large"):
        narrow.open(png())


def test_many_threads_share_one_process(decoder: DecoderProcess) -> None:
    sizes: set[tuple[int, int]] = set()

    def work(width: int) -> None:
        for _ in range(5):
            sizes.add(decoder.open(png(width)).size)

    threads = [threading.Thread(target=work, args=(width,)) for width in range(10, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sizes == {(width, 30) for width in range(10, 18)}


def test_close_leaves_no_process() -> None:
    decoder = DecoderProcess()
    pid = decoder.pid
    assert pid is not None
    decoder.close()
    assert not Path(f"/proc/{pid}").exists()


def test_exceeding_the_memory_limit_is_a_memory_error() -> None:
    code = (
        "import numpy as np; from colorizer.pictures.decoding_limits import limit_memory;"
        "limit_memory(1 << 28);"
        "np.ones(1 << 24); print('fits', flush=True); np.ones(1 << 26)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "fits\n"
    assert "MemoryError" in done.stderr


def test_the_limit_suffices_for_the_largest_picture() -> None:
    code = """
import io, sys
from PIL import Image
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.decoding_limits import decoding_bytes, limit_memory
buffers = []
for mode, format in (("RGBA", "PNG"), ("RGBA", "WEBP"), ("CMYK", "TIFF"), ("I;16", "PNG")):
    buffer = io.BytesIO()
    Image.new(mode, (4000, 2500)).save(buffer, format)
    buffers.append(buffer)
limit_memory(decoding_bytes(10_000_000) - (1 << 28))
for buffer in buffers:
    print(open_picture(buffer.getvalue(), max_pixels=10_000_000).size)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(4000, 2500)\n" * 4, done.stderr


def test_a_limit_never_changes_the_hard_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        limit_memory(decoding_bytes(1))
        assert resource.getrlimit(resource.RLIMIT_AS)[1] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
