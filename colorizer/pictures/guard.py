"""Limits on memory and time for decoding pictures of strangers, and a child process to hold them.

A hostile file can make a decoder written in C crash, hang, or ask for all memory, and no exception
tells of it. So it decodes in a process that may die. Training and serving share these limits:
``prepare``'s workers set them on themselves, the runtime has a :class:`PictureGuard`.
"""

import json
import multiprocessing
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorizer.base.errors import PictureError
from colorizer.pictures.decoding import DEFAULT_MAX_PIXELS, Decoded, open_with_alpha

if TYPE_CHECKING:
    from PIL.Image import Image

DECODING_LIMIT_S = 30.0
"""Twenty times what 50 million pixels take on a slow core."""
BYTES_PER_PIXEL = 32
"""What decoding needs at most: a few copies of 4 bytes, while transparency is laid on white."""
BASE_BYTES = 512 * 1024 * 1024
"""For the file itself and what libraries set aside."""


def decoding_bytes(max_pixels: int) -> int:
    """The memory that decoding one picture of so many pixels may take."""
    return BASE_BYTES + BYTES_PER_PIXEL * max_pixels


def limit_memory(num_bytes: int) -> None:
    """Let this process take so much more address space than it has now; then it's MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + num_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process, by SIGALRM, if what is inside takes longer: also when C code hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class PictureGuard:
    """Decodes pictures in a child process, one at a time; a new child follows one that died.

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

    def __enter__(self) -> "PictureGuard":
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

    def open_with_alpha(self, picture: Path | bytes) -> Decoded:
        """Decode a picture as :func:`open_with_alpha` does.

        Raises :class:`PictureError` also for one that crashes or stalls its decoder.
        """
        from PIL import Image

        with self._lock:
            if self._child is None or not self._child.is_alive():
                self._start()
            assert self._connection is not None, "a child has a connection"
            try:
                header, pixels, alpha = _ask(self._connection, picture)
            except (EOFError, OSError):
                raise PictureError(self._why_it_died()) from None
        if "error" in header:
            raise PictureError(header["error"])
        width, height = header["size"]
        return Decoded(
            Image.frombytes("RGB", (width, height), pixels),
            Image.frombytes("L", (width, height), alpha) if alpha else None,
        )

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self.max_pixels, self.limit_s)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        # what is blocked now stays blocked in the child: Ctrl-C is the parent's to handle; a
        # tracker that is started on the way would unblock it
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that its death is an end of file here

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()  # the child ends at the end of its input
        if self._child is not None:
            self._child.join(1)
            self._child.kill()
            self._child.join()
            self._child.close()
        self._child = self._connection = None

    def _why_it_died(self) -> str:
        assert self._child is not None, "a child that was asked"
        self._child.join(1)
        if self._child.exitcode == -signal.SIGALRM:
            return f"stalls its decoder: more than {self.limit_s:g} s"
        return f"crashes its decoder (exit code {self._child.exitcode})"


def _ask(connection: Connection, picture: Path | bytes) -> tuple[dict[str, Any], bytes, bytes]:
    is_path = isinstance(picture, Path)
    connection.send_bytes(b"path" if is_path else b"data")
    connection.send_bytes(str(picture).encode() if isinstance(picture, Path) else picture)
    header = json.loads(connection.recv_bytes())
    if "error" in header:
        return header, b"", b""
    return header, connection.recv_bytes(), connection.recv_bytes()


# --- in the child --------------------------------------------------------------------------------


def _serve(connection: Connection, max_pixels: int, limit_s: float) -> None:
    limit_memory(decoding_bytes(max_pixels))
    with suppress(EOFError, ConnectionError):  # the parent has gone
        while True:
            kind, content = connection.recv_bytes(), connection.recv_bytes()
            picture = Path(content.decode()) if kind == b"path" else content
            with time_limit(limit_s):
                _answer(connection, picture, max_pixels)


def _answer(connection: Connection, picture: Path | bytes, max_pixels: int) -> None:
    try:
        rgb, opacity = open_with_alpha(picture, max_pixels=max_pixels)
        pixels, alpha = rgb.tobytes(), opacity.tobytes() if opacity else b""
    except PictureError as error:
        connection.send_bytes(json.dumps({"error": str(error)}).encode())
    except MemoryError:
        connection.send_bytes(json.dumps({"error": "too large: not enough memory"}).encode())
    else:
        connection.send_bytes(json.dumps({"size": rgb.size}).encode())
        connection.send_bytes(pixels)
        connection.send_bytes(alpha)
