"""SIGINT and SIGTERM: a command exits at once; a training is saved first.

Outside training everything survives a kill, so there is nothing to clean up: the handler prints one
line and ends the process. It raises no exception, since a library may swallow that. A training has
something to lose: from its first step on the handler only records the signal, and the trainer
checks for it between steps.

The first signal counts: the terminal, make, DVC and torchrun each pass theirs on, and the later
ones are ignored.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from colorizer.base.redaction import redact

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1

_received: int | None = None
"""The first signal that came while signals were deferred."""
_replaced_handlers: dict[int, Any] = {}
"""Signal → its handler before :func:`defer`; empty while signals aren't deferred."""
_called_on_exit: list[Callable[[], object]] = []


class Interruption(KeyboardInterrupt):
    """SIGINT or SIGTERM was received. Its message is a single line meant for a person."""

    def __init__(self, number: int, saved: str = "") -> None:
        super().__init__(
            f"interrupted{f', {saved}' if saved else ''}: run the same command again to resume"
        )
        self.number = number
        self.exit_code = 128 + number
        """As in a shell: 130 for SIGINT, 143 for SIGTERM."""


def exit_on_signals() -> None:
    """From now on the first SIGINT or SIGTERM ends this process."""
    # the handler ends the process before its semaphores are freed; Python's resource tracker, a
    # process of its own, frees them and would warn that it did
    filters = (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))
    for number in _SIGNALS:
        signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    for later in _SIGNALS:
        signal.signal(later, signal.SIG_IGN)
    interruption = Interruption(number)
    exit_now(str(interruption), interruption.exit_code)


def exit_now(line: str, exit_code: int) -> NoReturn:
    """Print a line on stderr and end this process and the workers that it started.

    Python's own finalization takes seconds after torch and MLflow were loaded.
    """
    for child in multiprocessing.active_children():
        child.kill()
    try:
        for function in _called_on_exit:
            with suppress(Exception):
                function()
        # called from a handler: what was interrupted may be writing to the same streams
        with suppress(Exception):
            end_progress_bars()
        with suppress(Exception):
            sys.stdout.flush()
        os.write(2, f"{redact(line)}\n".encode())
    finally:
        os._exit(exit_code)


@contextmanager
def calling_on_exit(function: Callable[[], object]) -> Iterator[None]:
    """Inside, :func:`exit_now` also calls this, to end processes that aren't Python's children."""
    _called_on_exit.append(function)
    try:
        yield
    finally:
        _called_on_exit.remove(function)


def end_progress_bars() -> None:
    """Close tqdm's bars, so that the next output begins on a new line."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()


@contextmanager
def deferrable() -> Iterator[None]:
    """Inside, :func:`defer` may be called. Raises :class:`Interruption` at the end after a signal.

    Handlers are put back, unless a signal was received and the command is about to exit.
    """
    global _received
    try:
        yield
        raise_if_received()
    finally:
        if _received is None or _exit not in _replaced_handlers.values():
            _received = None
            for number, handler in _replaced_handlers.items():
                signal.signal(number, handler)
        _replaced_handlers.clear()


def defer() -> None:
    """From here to the end of :func:`deferrable`, only record the first signal.

    Nothing happens outside the main thread: signals don't arrive there.
    """
    if not _replaced_handlers and threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            _replaced_handlers[number] = signal.signal(number, _note)


def _note(number: int, _: FrameType | None) -> None:
    global _received
    _received = _received or number


def received() -> int | None:
    """The first signal received while signals were deferred; None if there was none."""
    return _received


def raise_if_received(saved: str = "") -> None:
    """Raise :class:`Interruption` if a signal was received; ``saved`` says what was saved."""
    if _received is not None:
        raise Interruption(_received, saved)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes started inside never receive SIGINT: Ctrl-C is for their parent to handle.

    A signal that comes meanwhile is handled at the end: a child whose parent exits while it is
    being started prints a traceback.
    """
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.signal(n, lambda number, _: came.append(number)) for n in _SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def die_with_parent() -> None:
    """Receive SIGTERM when the parent dies: a killed process leaves no children. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
