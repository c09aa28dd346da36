"""Ctrl-C and pre-emption (SIGINT, SIGTERM): raised at once, or noted until nothing is lost by it.

The first signal counts. A machine that wants to be rid of us sends several: the terminal, make, DVC
and torchrun each pass theirs on, and the later ones must not break off what the first has begun.

An exception out of nowhere can fall into anybody's code. A library may swallow it (a bare
``except``, a finalizer), and we would go on for hours: it's told again when it's gone without
having arrived at the door. A library may trip over it, in the middle of an import, and fail with an
error of its own: see :func:`arrive`.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
AGAIN_S = 0.05
TOLD = "interrupted: run the same command again to go on"


class Interruption(KeyboardInterrupt):
    """We were told to stop. Its message is a single line meant for a person."""

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(TOLD.replace(":", f", {kept}:") if kept else TOLD)
        self.number = number
        self.exit_code = 128 + number
        """As a shell has it: 130 for SIGINT, 143 for SIGTERM."""

    def __del__(self) -> None:
        _signals.drop()


class _Signals:
    """What this process was told, and whether it may be raised where it is told."""

    def __init__(self) -> None:
        self.told: int | None = None
        self.is_deferred = False
        self.is_lost = False
        """It was raised, and somebody swallowed it."""
        self.has_arrived = False

    def take(self, number: int, _: FrameType | None) -> None:
        """The handler of both signals."""
        if (self.told is None or self.is_lost) and not self.has_arrived:
            self.told = self.told or number
            self.is_lost = False
            if not self.is_deferred:
                raise Interruption(self.told)

    def drop(self) -> None:
        """An interruption is no more; unless it has arrived, it's told again, a bit later."""
        if self.told is not None and not self.has_arrived:
            self.is_lost = True
            threading.Timer(AGAIN_S, os.kill, (os.getpid(), self.told)).start()


_signals = _Signals()


def listen() -> None:
    """Turn the first SIGINT or SIGTERM into an :class:`Interruption`, to this process's end."""
    for number in _SIGNALS:
        signal.signal(number, _signals.take)
    sys.unraisablehook = _keep_quiet


def _keep_quiet(swallowed: "sys.UnraisableHookArgs") -> None:
    """Python prints what was raised in a finalizer; an interruption isn't news."""
    if not isinstance(swallowed.exc_value, Interruption):
        sys.__unraisablehook__(swallowed)


def arrive(error: BaseException) -> Interruption | None:
    """The interruption that an error is, or may come from; None if nobody told us to stop.

    Broken off in the middle, a library fails with whatever it likes: once we were told, an error
    that isn't known had better be taken for that. From here on nothing is told again.
    """
    _signals.has_arrived = _signals.told is not None
    if isinstance(error, Interruption):
        return error
    is_told = isinstance(error, KeyboardInterrupt) or _signals.told is not None
    return Interruption(_signals.told or signal.SIGINT) if is_told else None


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
            _signals.told, _signals.is_lost, _signals.has_arrived = None, False, False
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
    """ProcessGroup started inside never get SIGINT: from their start on it is their parent's.

    What comes meanwhile reaches this process at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with_parent() -> None:
    """Get SIGTERM when the parent dies: what was started by a killed process doesn't run on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
