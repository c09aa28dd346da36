import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline_steps.base import signals
from pipeline_steps.base.signals import Interruption

STAGE = """
import os, signal, sys, time
from pipeline_steps.base.errors import run_main
def work():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # as make and DVC pass theirs on
        print("cleaned up", flush=True)
run_main(work)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stage_ends_with_one_line_and_the_usual_code(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    printed, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors == "interrupted: run the same command again to go on\n"
    assert printed == "cleaned up\n"


SWALLOWED = """
import os, signal, time
from pipeline_steps.base.errors import run_main
def tell():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
class Finalized:
    def __del__(self):
        tell()  # raised here, where Python drops it
def work():
    {}
    time.sleep(60)
run_main(work)
"""


def run_swallowing(swallow: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(swallow)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=30,
    )


@pytest.mark.parametrize(
    "swallow",
    [
        "Finalized()",
        "try: tell()\n    except: pass",
        "try: tell()\n    except BaseException as error: kept = error; del error, kept",
        # a library that was broken off in the middle, and noticed later
        "try: tell()\n    except: pass\n    raise RecursionError('numpy')",
        "try: tell()\n    except BaseException: raise ImportError('half')",
        "try: tell()\n    except BaseException: raise ImportError('half') from None",
        "try: tell()\n    except BaseException: raise SystemExit(1)",
    ],
)
def test_a_signal_that_falls_into_others_code_is_not_lost(swallow: str) -> None:
    done = run_swallowing(swallow)
    assert done.stderr == "interrupted: run the same command again to go on\n"
    assert done.returncode == 143


def test_known_errors_are_told_as_themselves_after_a_signal_too() -> None:
    work = "raise OSError(28, 'No space left on device', 'checkpoint')"
    swallow = f"try: tell()\n    except BaseException: {work}"
    done = run_swallowing(swallow)
    assert done.stderr.startswith("error: the disk is full (writing checkpoint)")
    assert done.returncode == 1


@contextmanager
def deferring() -> Iterator[None]:
    with signals.deferrable():
        signals.defer()
        yield


def tell(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_deferred_signal_is_raised_where_it_is_asked_for(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def work() -> None:
        with deferring():
            tell(number)
            signals.raise_if_told("epoch 3 kept")
            pytest.fail("went on")

    with pytest.raises(Interruption, match="interrupted, epoch 3 kept: run"):
        work()
    assert signal.getsignal(number) == before
    assert not signals.is_told()


def test_what_was_noted_and_never_asked_for_is_raised_at_the_end() -> None:
    reached = False

    def work() -> None:
        nonlocal reached
        with deferring():
            tell(signal.SIGTERM)
            reached = True

    with pytest.raises(Interruption):
        work()
    assert reached


def test_before_there_is_something_to_lose_a_signal_is_raised_at_once() -> None:
    def work() -> None:
        with signals.deferrable():
            tell(signal.SIGTERM)
            pytest.fail("went on")

    with pytest.raises(Interruption):
        work()


def test_in_other_threads_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during: list[object] = []

    def work() -> None:
        with signals.deferrable():
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]
