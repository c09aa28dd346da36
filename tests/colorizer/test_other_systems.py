"""The runtime on Windows and macOS, as far as Linux can show it: their missing calls taken away.

``other_systems/sitecustomize.py`` does that, in the command and the processes that it starts.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.colorizer.drawing import draw, png
from tests.whole.prefect_stack import free_port

REPOSITORY = Path(__file__).parents[2]
SYSTEMS = ("windows", "macos")


def environment_like(system: str, **more: str) -> dict[str, str]:
    paths = [str(Path(__file__).with_name("other_systems")), str(REPOSITORY)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LIKE": system, **more}


def run_like(
    system: str, folder: Path, *arguments: object, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run a Python module in a folder."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env=environment_like(system, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )


def hidden(folder: Path) -> list[str]:
    """Names of temporary files that were left."""
    return [path.name for path in folder.rglob(".*") if ".part" in path.name]


def write_folder(folder: Path) -> None:
    """Sketches, some of which are broken."""
    (folder / "deep").mkdir(parents=True)
    draw().save(folder / "ring.png")
    draw(90, 70).save(folder / "deep" / "ring.jpg")
    draw().save(folder / "lzw.tif", compression="tiff_lzw")
    draw().convert("1").save(folder / "fax.tif", compression="group4")
    draw().save(folder / "pages.tif", save_all=True, append_images=[draw(70, 40)])
    (folder / "text.png").write_text("no picture")
    (folder / "half.png").write_bytes(png(draw())[:-60])
    whole = (folder / "lzw.tif").read_bytes()
    (folder / "torn.tif").write_bytes(whole[:40] + bytes(100) + whole[140:])
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_sketch_is_coloured_with_the_same_pixels(
    system: str, model_folder: Path, tmp_path: Path, run: Any
) -> None:
    draw().save(tmp_path / "ring.png")
    here = run(tmp_path / "ring.png", "-o", tmp_path / "here.png")
    there = run_like(
        system, tmp_path, "colorizer", "ring.png", "-o", "there.png", "--model", model_folder
    )
    assert (there.returncode, there.stdout, there.stderr) == (0, "there.png: 60×40\n", "")
    assert here.code == 0
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()
    assert hidden(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_of_a_folder_the_same_pictures_are_coloured(
    system: str, model_folder: Path, tmp_path: Path, run: Any
) -> None:
    """All but the TIFFs that nothing but libtiff can prove, where Pillow hides its own."""
    write_folder(tmp_path / "in")
    here = run(tmp_path / "in", "-o", tmp_path / "here", "--workers", 2)
    command = ("colorizer", "in", "-o", "there", "--workers", 2, "--model", model_folder)
    there = run_like(system, tmp_path, *command)
    assert (here.code, there.returncode) == (3, 3)
    assert "Traceback" not in there.stderr
    expected, found = (results(tmp_path / name) for name in ("here", "there"))
    if system == "windows":
        assert expected.pop(("fax.tif", 1))["status"] == "done"
        assert "hides its libtiff" in found.pop(("fax.tif", 1))["reason"]
    assert found == expected
    assert {row["status"] for row in found.values()} == {"done", "failed"}
    assert hidden(tmp_path) == []
    again = run_like(system, tmp_path, *command)
    num_done = 5 if system == "windows" else 6
    assert again.stdout.startswith(f"0 coloured, {num_done} skipped (done before)")


def results(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    rows = json.loads((folder / "report.json").read_text())
    return {(row["source"], row["page"]): row | {"seconds": 0} for row in rows}


@contextmanager
def studio_like(system: str, folder: Path, model: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "colorizer", "studio", "--port", str(port), "--model", str(model)],
        cwd=folder,
        env=environment_like(system),
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{url}/health", timeout=10)
                break
            except requests.ConnectionError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_studio_colours_the_same_and_serves_its_page(
    system: str, model_folder: Path, tmp_path: Path, run: Any
) -> None:
    draw().save(tmp_path / "ring.png")
    run(tmp_path / "ring.png", "-o", tmp_path / "here.png")
    with studio_like(system, tmp_path, model_folder) as url:
        coloured = requests.post(
            f"{url}/colorize", (tmp_path / "ring.png").read_bytes(), timeout=60
        )
        refused = requests.post(f"{url}/colorize", b"no picture", timeout=60)
        script = requests.get(f"{url}/studio.js", timeout=60)
    assert coloured.content == (tmp_path / "here.png").read_bytes()
    assert refused.status_code == 400
    # browsers run no script of another type
    assert script.headers["content-type"].startswith("text/javascript")


STALLS = """
import re
from colorizer.pictures.decoding_limits import time_limit
with time_limit(60):
    pass
print("in time", flush=True)
with time_limit(0.2):
    re.match("(a+)+$", 60 * "a" + "b")  # C code that holds the interpreter's lock for years
"""


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_decoder_that_stalls_is_ended(system: str, tmp_path: Path) -> None:
    stalled = subprocess.run(
        [sys.executable, "-c", STALLS],
        env=environment_like(system),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (stalled.stdout, stalled.stderr) == ("in time\n", "")
    assert stalled.returncode == (1 if system == "windows" else -14)


DECODE = """
import sys
from pathlib import Path
from colorizer.base.errors import PictureError
from colorizer.pictures.decoder_process import DecoderProcess
with DecoderProcess(limit_s=0.5) as decoder:
    try:
        decoder.open(Path(sys.argv[1]))
    except PictureError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_picture_that_stalls_its_decoder_is_refused(system: str, tmp_path: Path) -> None:
    fifo = tmp_path / "never.png"
    os.mkfifo(fifo)  # opening it blocks, since there is no writer
    refused = subprocess.run(
        [sys.executable, "-c", DECODE, str(fifo)],
        env=environment_like(system),
        capture_output=True,
        text=True,
        timeout=120,
    )
    expected = "stalls its decoder: more than 0.5 s\n"
    assert (refused.stdout, refused.stderr) == (expected, "")


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_no_call_is_missing_there(platform: str) -> None:
    """The type checker's stubs of Python's library know which names a system has."""
    options = ["--config-file", os.devnull, "--cache-dir", os.devnull, "--platform", platform]
    options += ["--follow-imports", "skip", "--ignore-missing-imports"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "colorizer"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = checked.stdout.splitlines()
    assert "source files" in lines[-1]  # other lines are about libraries that were skipped
    assert [line for line in lines if "Module has no attribute" in line] == []


PLATFORMS = {"windows": "win32", "macos": "darwin"}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "command",
    [("pipeline_steps", "params"), ("pipeline_steps", "prepare"), ("flows.serve",)],
    ids=" ".join,
)
def test_the_pipeline_says_that_it_needs_linux(
    system: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    refused = run_like(system, tmp_path, *command, LIKE_PLATFORM=PLATFORMS[system])
    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: Image-Colorizer's pipeline needs Linux: ")
    assert "colorizer itself runs here" in line


@pytest.mark.parametrize("target", ["repro", "setup", "serve"])
def test_make_says_that_it_needs_linux(target: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (programs / "uname").chmod(0o755)
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    make = ["make", "--no-print-directory", "-C", str(tmp_path)]
    refused = subprocess.run([*make, target], env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert "Image-Colorizer's pipeline needs Linux: " in line
    assert "colorizer itself runs here" in line
    listed = subprocess.run([*make, "help"], env=environment, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
