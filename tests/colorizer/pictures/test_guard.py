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
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.guard import PictureGuard, decoding_bytes, limit_memory


def png(width: int = 40, height: int = 30, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def guard() -> Iterator[PictureGuard]:
    with PictureGuard() as guard:
        yield guard


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_picture_is_what_it_is_without_a_guard(
    guard: PictureGuard, tmp_path: Path, mode: str
) -> None:
    data = png(mode=mode)
    path = tmp_path / "sketch.png"
    path.write_bytes(data)
    expected = np.asarray(open_picture(data))
    for picture in (data, path):
        assert np.array_equal(np.asarray(guard.open(picture)), expected)


def test_a_bad_picture_is_refused_with_the_same_reason(guard: PictureGuard, tmp_path: Path) -> None:
    for picture in (b"", b"no picture", png()[:-20], tmp_path / "missing.png"):
        with pytest.raises(PictureError) as expected:
            open_picture(picture)
        with pytest.raises(PictureError) as refused:
            guard.open(picture)
        assert str(refused.value) == str(expected.value)


def test_a_child_that_dies_costs_one_picture(guard: PictureGuard, tmp_path: Path) -> None:
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)  # opening it waits for a writer that never comes
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(PictureError) as error:
            guard.open(fifo)
        refused.append(str(error.value))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)  # until it was asked; whether it has got to the file makes no difference
    assert guard.pid is not None
    os.kill(guard.pid, signal.SIGSEGV)
    thread.join(20)
    assert refused == ["crashes its decoder (exit code -11)"]
    assert guard.open(png()).size == (40, 30)


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)
    with PictureGuard(limit_s=0.2) as guard:
        with pytest.raises(PictureError, match=r"stalls its decoder: more than 0\.2 s"):
            guard.open(fifo)
        assert guard.open(png()).size == (40, 30)


def test_the_bound_of_pixels_holds(guard: PictureGuard) -> None:
    with PictureGuard(max_pixels=100) as narrow, pytest.raises(PictureError, match="too large"):
        narrow.open(png())


def test_many_threads_share_one_child(guard: PictureGuard) -> None:
    sizes: set[tuple[int, int]] = set()

    def work(width: int) -> None:
        for _ in range(5):
            sizes.add(guard.open(png(width)).size)

    threads = [threading.Thread(target=work, args=(width,)) for width in range(10, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sizes == {(width, 30) for width in range(10, 18)}


def test_closed_it_leaves_no_process() -> None:
    guard = PictureGuard()
    pid = guard.pid
    assert pid is not None
    guard.close()
    assert not Path(f"/proc/{pid}").exists()


def test_more_memory_than_allowed_is_an_exception_not_a_dead_machine() -> None:
    code = (
        "import numpy as np; from colorizer.pictures.guard import limit_memory;"
        "limit_memory(1 << 28);"
        "np.ones(1 << 24); print('fits', flush=True); np.ones(1 << 26)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "fits\n"
    assert "MemoryError" in done.stderr


def test_what_is_allowed_suffices_for_the_largest_picture() -> None:
    code = """
import io, sys
from PIL import Image
from colorizer.pictures.guard import decoding_bytes, limit_memory
from colorizer.pictures.decoding import open_picture
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


def test_a_limit_never_exceeds_the_systems() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        limit_memory(decoding_bytes(1))
        assert resource.getrlimit(resource.RLIMIT_AS)[1] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
