"""Ctrl-C and pre-emption (SIGINT, SIGTERM): raised at once, or noted until nothing is lost by it.

The first signal counts. A machine that wants to be rid of us sends several: the terminal, make, DVC
and torchrun each pass theirs on, and the later ones must not break off what the first has begun.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.05
TOLD = "interrupted: run the same command again to go on"


class Interruption(KeyboardInterrupt):
    """We were told to stop. Its message is a single line meant for a person."""

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(TOLD.replace(":", f", {kept}:") if kept else TOLD)
        self.number = number
        self.exit_code = 128 + number
        """As a shell has it: 130 for SIGINT, 143 for SIGTERM."""


class _Signals:
    """What this process was told, and whether it may be raised where it is told."""

    def __init__(self) -> None:
        self.told: int | None = None
        self.is_deferred = False

    def take(self, number: int, _: FrameType | None) -> None:
        """The handler of both signals."""
        if self.told is None:
            self.told = number
            if not self.is_deferred:
                raise Interruption(number)


_signals = _Signals()


def listen() -> None:
    """Turn the first SIGINT or SIGTERM into an :class:`Interruption`, to this process's end."""
    for number in _SIGNALS:
        signal.signal(number, _signals.take)
    sys.unraisablehook = _tell_again


def _tell_again(lost: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised in a finalizer: an interruption is told again, a bit later."""
    if not isinstance(lost.exc_value, Interruption):
        sys.__unraisablehook__(lost)
        return
    _signals.told = None
    threading.Timer(AGAIN_S, os.kill, (os.getpid(), lost.exc_value.number)).start()


@contextmanager
def deferrable() -> Iterator[None]:
    """While inside, :func:`defer` has signals only noted; what was noted is raised at the end.

    Elsewhere than in the main thread nothing happens: signals don't come there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    is_listening = handlers[signal.SIGTERM] == _signals.take
    listen()
    try:
        yield
        raise_if_told()
    finally:
        _signals.is_deferred = False
        if not is_listening:
            _signals.told = None
            for number, handler in handlers.items():
                signal.signal(number, handler)


def defer() -> None:
    """From here to the end of :func:`deferrable`, signals are noted: there is something to lose."""
    _signals.is_deferred = True


def is_told() -> bool:
    """Whether a signal has come."""
    return _signals.told is not None


def raise_if_told(kept: str = "") -> None:
    """Raise :class:`Interruption` if a signal has come; ``kept`` says what was saved."""
    if _signals.told is not None:
        raise Interruption(_signals.told, kept)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes started inside never get SIGINT: from their start on it is their parent's.

    What comes meanwhile reaches this process at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
