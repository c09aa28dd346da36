"""SIGINT and SIGTERM: a command exits at once, a training between two steps."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline_steps.base import signals
from pipeline_steps.base.errors import report_errors
from pipeline_steps.base.signals import Interruption

LINE = "interrupted: run the same command again to resume\n"
FULL_DISK_LINE = (
    "error: the disk is full (writing checkpoint): free space and run the same command again\n"
)
SCRIPT = """
import os, signal, sys, time
from pipeline_steps.base import signals
from pipeline_steps.base.errors import run_main

{code}

if __name__ == "__main__":
    run_main(work)
"""
Start = Callable[[str], "subprocess.Popen[str]"]
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a script whose ``work`` is a command; return when it has printed its first line."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str) -> "subprocess.Popen[str]":
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(code=code))
        process = subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""},
            start_new_session=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its workers, if the test failed
        process.communicate()


WAITS = {
    "waiting": "time.sleep(60)",
    "in code that swallows every exception": """
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass""",
    "in a finalizer": """
    class Finalized:
        def __del__(self):
            time.sleep(60)
    Finalized()""",
    "in code that turns every exception into its own": """
    try:
        time.sleep(60)
    except BaseException:
        raise ImportError("half imported") from None""",
}


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize("wait", WAITS)
def test_a_command_exits_with_one_line_and_the_usual_code(
    number: signal.Signals, code: int, wait: str, start: Start
) -> None:
    work = f"""
def work():
    print("buffered")
    os.write(1, b"working\\n")
    {WAITS[wait]}
"""
    process = start(work)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=30)
    assert errors == LINE
    assert process.returncode == code
    assert printed == "buffered\n"


def test_the_first_of_several_signals_sets_the_exit_code(start: Start) -> None:
    # make and DVC forward their signal, so a second one arrives while the handler runs
    work = """
class Stream:
    def flush(self):
        sys.stdout = sys.__stdout__
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

def work():
    sys.stdout = Stream()
    os.write(1, b"working\\n")
    time.sleep(60)
"""
    process = start(work)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors == LINE
    assert process.returncode == 130


def test_a_progress_bar_is_ended_first(start: Start) -> None:
    work = """
from tqdm import tqdm
def work():
    with tqdm(total=2, desc="train", mininterval=0) as bar:
        bar.update()
        print("working", flush=True)
        time.sleep(60)
"""
    process = start(work)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert "train:" in errors
    assert errors.splitlines()[-1] + "\n" == LINE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_exit_with_their_parent_and_print_nothing(
    number: signal.Signals, start: Start
) -> None:
    work = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def work():
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    with signals.kept_from_children():
        futures = [pool.submit(time.sleep, 0.1), pool.submit(time.sleep, 60)]
    futures[0].result()
    print("working", flush=True)
    futures[1].result()
"""
    process = start(work)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # two workers, and Python's resource tracker
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert errors == LINE
    assert process.returncode == 128 + number
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == []


def test_a_signal_waits_until_a_child_is_started(start: Start) -> None:
    work = """
import subprocess
def work():
    with signals.kept_from_children():
        print("working", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        to_itself = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
        subprocess.run([sys.executable, "-c", to_itself])
        print("started", flush=True)
    time.sleep(60)
"""
    process = start(work)
    printed, errors = process.communicate(timeout=30)
    assert printed == "started\n"
    assert errors == LINE  # and no KeyboardInterrupt of the child
    assert process.returncode == 143


def test_an_interrupted_training_completes_its_cleanup(start: Start) -> None:
    work = """
def work():
    try:
        with signals.deferrable():
            signals.defer()
            print("working", flush=True)
            while signals.received() is None:
                time.sleep(0.01)
            signals.raise_if_received("checkpoint saved")
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        print("cleaned up", flush=True)
"""
    process = start(work)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=30)
    assert printed == "cleaned up\n"
    assert errors == "interrupted, checkpoint saved: run the same command again to resume\n"
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        ("OSError(28, 'No space left on device', 'checkpoint')", FULL_DISK_LINE, 1),
        ("RuntimeError('Connection closed by peer')", LINE, 143),
    ],
)
def test_an_error_after_a_signal_is_reported_if_it_is_expected(
    error: str, line: str, code: int, start: Start
) -> None:
    work = f"""
def work():
    with signals.deferrable():
        signals.defer()
        print("working", flush=True)
        while signals.received() is None:
            time.sleep(0.01)
        raise {error}
"""
    process = start(work)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert errors == line
    assert process.returncode == code


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_deferred_signal_is_raised_at_the_next_check(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def work() -> None:
        with signals.deferrable():
            signals.defer()
            send(number)
            send(signal.SIGTERM)
            signals.raise_if_received("epoch 3 saved")
            pytest.fail("continued")

    with pytest.raises(Interruption, match="interrupted, epoch 3 saved: run") as raised:
        work()
    assert raised.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    assert signals.received() is None


def test_a_deferred_signal_without_a_check_is_raised_at_the_end() -> None:
    reached = False

    def work() -> None:
        nonlocal reached
        with signals.deferrable():
            signals.defer()
            send(signal.SIGTERM)
            reached = True

    with pytest.raises(Interruption):
        work()
    assert reached


def test_before_signals_are_deferred_nothing_changes() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, signals.deferrable():
        send(signal.SIGINT)
    assert not isinstance(raised.value, Interruption)


def test_in_other_threads_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during: list[object] = []

    def work() -> None:
        with signals.deferrable(), signals.kept_from_children():
            signals.defer()
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]


def test_ctrl_c_in_a_command_of_the_flows_prints_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as raised:
        report_errors(command)
    assert raised.value.code == 130
    assert capsys.readouterr().err == LINE
