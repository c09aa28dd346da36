"""A child process that decodes pictures for the runtime: a hostile file can crash only that.

The child sets the limits of :mod:`colorizer.pictures.decoding_limits` on itself. It wipes what it
frees, so that nothing of a picture is left in it when the next one comes.
"""

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from colorizer.base.errors import PictureError
from colorizer.base.redaction import redact_output
from colorizer.pictures.decoding import DEFAULT_MAX_PIXELS, Decoded, open_with_alpha
from colorizer.pictures.decoding_limits import (
    DECODING_LIMIT_S,
    TIMED_OUT,
    decoding_bytes,
    limit_memory,
    time_limit,
    wiped_memory,
)
from colorizer.pictures.pages import Pages

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

if TYPE_CHECKING:
    from PIL.Image import Image


class DecoderProcess:
    """Decodes pictures in a child process, one at a time; a child that crashed is replaced.

    Use it in a ``with`` block, or call :meth:`close`. Threads may share it. The calling program
    must be importable (``if __name__ == "__main__"``), since the child is spawned.
    """

    def __init__(
        self, *, max_pixels: int = DEFAULT_MAX_PIXELS, limit_s: float = DECODING_LIMIT_S
    ) -> None:
        self.max_pixels = max_pixels
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._child: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None when closed."""
        return self._child.pid if self._child else None

    def open(self, picture: Path | bytes) -> "Image":
        """Decode a picture as :func:`~colorizer.pictures.decoding.open_picture` does."""
        return self.open_with_alpha(picture).rgb

    def open_with_alpha(self, picture: Path | bytes, *, page: int = 0) -> Decoded:
        """Decode a picture, or a ``page`` of a TIFF, as :func:`open_with_alpha` does.

        Raises :class:`PictureError` also for a picture that crashes or stalls its decoder.
        """
        from PIL import Image

        with self._lock:
            if self._child is None or not self._child.is_alive():
                self._start()
            assert self._connection is not None, "a child has a connection"
            try:
                header, pixels, alpha = _request(self._connection, picture, page)
            except (EOFError, OSError):
                raise PictureError(self._crash_reason()) from None
        if "error" in header:
            raise PictureError(header["error"])
        width, height = header["size"]
        return Decoded(
            Image.frombytes("RGB", (width, height), pixels),
            Image.frombytes("L", (width, height), alpha) if alpha else None,
            Pages(*header["pages"]),
        )

    def close(self) -> None:
        """End the child process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        arguments = (child_end, self.max_pixels, self.limit_s)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        with _interrupts_blocked(), wiped_memory():
            self._child.start()
        child_end.close()  # the child's exit is then an end of file here

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()  # the child exits at end of file
        if self._child is not None:
            self._child.join(1)
            self._child.kill()
            self._child.join()
            self._child.close()
        self._child = self._connection = None

    def _crash_reason(self) -> str:
        assert self._child is not None, "the child that was asked"
        self._child.join(1)
        if self._child.exitcode == TIMED_OUT:
            return f"stalls its decoder: more than {self.limit_s:g} s"
        return f"crashes its decoder (exit code {self._child.exitcode})"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start a child in this block, and only the parent handles Ctrl-C."""
    if sys.platform == "win32" or not hasattr(signal, "pthread_sigmask"):
        yield  # the child ignores it as soon as it runs
        return
    # the child inherits the mask. Starting it would start the resource tracker, which unblocks
    # SIGINT, so start that before
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _request(
    connection: Connection, picture: Path | bytes, page: int
) -> tuple[dict[str, Any], bytes, bytes]:
    is_path = isinstance(picture, Path)
    connection.send_bytes(json.dumps({"is_path": is_path, "page": page}).encode())
    connection.send_bytes(os.fsencode(picture) if isinstance(picture, Path) else picture)
    header = json.loads(connection.recv_bytes())
    if "error" in header:
        return header, b"", b""
    return header, connection.recv_bytes(), connection.recv_bytes()


# --- in the child --------------------------------------------------------------------------------


def _serve(connection: Connection, max_pixels: int, limit_s: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redact_output()
    limit_memory(decoding_bytes(max_pixels))
    gc.disable()  # so that what is new is always in the youngest generation, collected below
    with suppress(EOFError, ConnectionError):  # the parent exited or closed its end
        while True:
            request, content = json.loads(connection.recv_bytes()), connection.recv_bytes()
            picture = Path(os.fsdecode(content)) if request["is_path"] else content
            with time_limit(limit_s):
                _respond(connection, picture, max_pixels, request["page"])
            # freed, it's wiped: the next picture may be another client's
            del content, picture
            gc.collect(0)  # also a picture that refers to itself


def _respond(connection: Connection, picture: Path | bytes, max_pixels: int, page: int) -> None:
    try:
        rgb, opacity, pages = open_with_alpha(picture, max_pixels=max_pixels, page=page)
        pixels, alpha = rgb.tobytes(), opacity.tobytes() if opacity else b""
    except PictureError as error:
        connection.send_bytes(json.dumps({"error": str(error)}).encode())
    except MemoryError:
        connection.send_bytes(json.dumps({"error": "too large: not enough memory"}).encode())
    else:
        connection.send_bytes(json.dumps({"size": rgb.size, "pages": pages}).encode())
        connection.send_bytes(pixels)
        connection.send_bytes(alpha)
