"""``python -m benchmarks.studio_load``: load-test the studio on loopback.

Starts ``colorize studio`` and prints pictures/s and latency at 1 to 64 clients, memory over many
requests, and the requests that fail when the model is replaced or the studio killed under load.
"""

import argparse
import io
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image, ImageDraw

from colorizer.model.folder import CARD_FILE, CHECKSUMS_FILE, compute_checksums

CLIENTS = (1, 4, 16, 64)
PORT = 8765
URL = f"http://127.0.0.1:{PORT}"


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/colorizer"))
    parser.add_argument("--side", type=int, default=512, help="px of the sketch (default: 512)")
    parser.add_argument("--requests", type=int, default=200, help="per number of clients")
    parser.add_argument("--many", type=int, default=5000, help="requests while memory is watched")
    arguments = parser.parse_args()
    sketch = draw_sketch(arguments.side)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(arguments.model, Path(temporary) / "model"))
        with studio(folder) as process:
            measure_levels(sketch, arguments.requests)
            measure_memory(process, sketch, arguments.many)
            measure_replacement(folder, sketch)
        measure_kill(folder, sketch)


def draw_sketch(side: int) -> bytes:
    """Draw ellipses on white, as PNG."""
    picture = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(picture)
    for number in range(1, 12):
        inset = side * number // 26
        pen.ellipse((inset, inset // 2, side - inset, side - inset // 2), outline=0, width=2)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def studio(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``colorize studio``, with a queue for most of the clients."""
    command = [sys.executable, "-m", "colorizer", "studio", "--model", str(folder)]
    process = subprocess.Popen([*command, "--port", str(PORT), "--max-waiting", "40"])
    try:
        deadline_s = time.monotonic() + 60
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit("the studio didn't start within 60 s")
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def is_up() -> bool:
    """Whether the studio's health check succeeds."""
    try:
        return requests.get(f"{URL}/health", timeout=2).ok
    except requests.RequestException:
        return False


def ask(session: requests.Session, sketch: bytes) -> tuple[int, float]:
    """Request one picture; return the status (0 without a response) and seconds."""
    start_s = time.perf_counter()
    try:
        status = session.post(f"{URL}/colorize", sketch, timeout=120).status_code
    except requests.RequestException:
        status = 0
    return status, time.perf_counter() - start_s


def load(
    sketch: bytes, clients: int, count: int, meanwhile: Callable[[], None] | None = None
) -> tuple[list[tuple[int, float]], float]:
    """Send ``count`` requests from a number of clients; return all results and total seconds."""
    local = threading.local()

    def one(_: int) -> tuple[int, float]:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return ask(local.session, sketch)

    start_s = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool, ThreadPoolExecutor(1) as second:
        other = second.submit(meanwhile) if meanwhile else None
        results = list(pool.map(one, range(count)))
        if other:
            other.result()
    return results, time.perf_counter() - start_s


def measure_levels(sketch: bytes, count: int) -> None:
    """Print pictures/s and latency by number of clients."""
    load(sketch, 2, 10)
    print("clients  pictures/s  p50 ms  p99 ms  statuses")
    for clients in CLIENTS:
        found, seconds = load(sketch, clients, count)
        times = sorted(1000 * s for status, s in found if status == 200)
        p99 = times[min(len(times) - 1, round(0.99 * len(times)))]
        statuses = dict(Counter(status for status, _ in found))
        rate = len(times) / seconds
        print(f"{clients:7} {rate:11.1f} {statistics.median(times):7.0f} {p99:7.0f}  {statuses}")


def measure_memory(process: "subprocess.Popen[bytes]", sketch: bytes, count: int) -> None:
    """Print the resident memory of the studio and its decoders over many requests."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    print(f"requests  resident MiB (studio and {len(family) - 1} children)")
    done = 0
    for part in range(6):
        print(f"{done:8}  {sum(each.memory_info().rss for each in family) / 2**20:.0f}", flush=True)
        if part < 5:
            load(sketch, 4, count // 5)
            done += count // 5


def measure_replacement(folder: Path, sketch: bytes) -> None:
    """Print the statuses of requests while the model is replaced."""

    def replace() -> None:
        for number in range(3):
            time.sleep(3)
            copied = Path(shutil.copytree(folder, folder.with_name("copied")))
            (copied / CARD_FILE).write_text(f"replacement {number}")
            (copied / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(copied)))
            shutil.rmtree(folder)
            copied.rename(folder)
            before = identity()
            while identity() == before:
                time.sleep(0.2)

    found, _ = load(sketch, 4, 400, replace)
    print(f"model replaced 3 times under load: {dict(Counter(status for status, _ in found))}")


def identity() -> Any:
    """Identity of the model that is served."""
    return requests.get(f"{URL}/model", timeout=30).json()[0]["identity"]


def measure_kill(folder: Path, sketch: bytes) -> None:
    """Print the requests lost to a kill, and the statuses after a restart."""
    answered: list[int] = []
    in_flight: list[int] = []
    with studio(folder) as first:

        def kill() -> None:
            time.sleep(2)
            first.kill()

        found, _ = load(sketch, 4, 60, kill)
        statuses = [status for status, _ in found]
        answered.append(statuses.count(200))
        in_flight.append(statuses.count(0))
    with studio(folder):
        again, _ = load(sketch, 4, in_flight[0] or 1)
    print(
        f"killed under load of 4 clients: {answered[0]} answered, {in_flight[0]} got no response;"
        f" after the restart {dict(Counter(status for status, _ in again))}"
    )


if __name__ == "__main__":
    main()
