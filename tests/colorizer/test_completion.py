"""``colorize --print-completion`` in real shells on a real terminal: the TAB key is pressed."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROMPT = "READY> "
WAIT_S = 20
# what the completed command line holds is printed, so that quoting is checked too
STUB = """colorize() { printf 'ARGS:'; printf '<%s>' "$@"; printf ':END\\n'; }"""
FISH_STUB = """function colorize; printf 'ARGS:'; printf '<%s>' $argv; printf ':END\\n'; end"""
EVAL = 'eval "$(cat .script)"'
SETUP = {
    "bash": (["--norc", "--noprofile", "-i"], f"PS1='{PROMPT}'\n{STUB}\n{EVAL}"),
    "zsh": (
        ["-f", "-i"],
        f"PS1='{PROMPT}'\nautoload -U compinit; compinit -u -D\n{STUB}\n{EVAL}",
    ),
    "fish": (
        ["--no-config", "-i"],
        f"function fish_prompt; printf '{PROMPT}'; end\n{FISH_STUB}\nsource .script",
    ),
}
NAMES = ("sketch.png", "page one.png", "it's (1).png", "café.png", "notes.txt")


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.main, other = os.openpty()
        self.shown = ""
        options, _ = SETUP[shell]
        environment = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }
        self.process = subprocess.Popen(
            ["setsid", "--ctty", shell, *options],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=folder,
            env=environment,
        )
        os.close(other)
        self.type(f"source {folder}/.setup\n")

    def type(self, keys: str) -> None:
        os.write(self.main, keys.encode())

    def wait_for(self, pattern: str) -> str:
        """Read on until this is shown; return it. What is shown after it is kept."""
        deadline_s = time.monotonic() + WAIT_S
        while not (found := re.search(pattern, self.shown)):
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, self.shown
            if select.select([self.main], [], [], left_s)[0]:
                self.shown += os.read(self.main, 65536).decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found[0]

    def complete(self, keys: str) -> list[str]:
        """The arguments of the command line that these keys make."""
        self.wait_for(PROMPT)
        self.type(f"{keys}\n")
        return re.findall("<([^>]*)>", self.wait_for("ARGS:.*:END"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self.main)


@pytest.fixture(scope="module", params=["bash", "fish", "zsh"])
def terminal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    shell = request.param
    pytest.importorskip("shtab")
    if not shutil.which(shell):
        pytest.skip(f"needs {shell} (Debian: {shell})")
    folder = tmp_path_factory.mktemp(shell)
    for name in NAMES:
        (folder / name).write_bytes(b"")
    (folder / "frames").mkdir()
    (folder / "frames" / "f1.png").write_bytes(b"")
    command = [sys.executable, "-m", "colorizer", "--print-completion", shell]
    script = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    (folder / ".script").write_text(script)
    (folder / ".setup").write_text(f"{SETUP[shell][1]}\n")
    terminal = Terminal(shell, folder)
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("colorize sk\t", ["sketch.png"]),
        ("colorize pa\t-o x.png", ["page one.png", "-o", "x.png"]),
        ("colorize page\\ o\t", ["page one.png"]),
        ("colorize it\t", ["it's (1).png"]),
        ("colorize caf\t", ["café.png"]),
        ("colorize fra\tf\t", ["frames/f1.png"]),
        ("colorize sketch.png no\t", ["sketch.png", "notes.txt"]),
        ("colorize --seed 3 sk\t", ["--seed", "3", "sketch.png"]),
        ("colorize sketch.png -o fra\tx.png", ["sketch.png", "-o", "frames/x.png"]),
        ("colorize sketch.png --reference pa\t", ["sketch.png", "--reference", "page one.png"]),
        ("colorize --model fra\tf\t", ["--model", "frames/f1.png"]),
    ],
)
def test_file_names_are_completed(terminal: Terminal, keys: str, arguments: list[str]) -> None:
    assert terminal.complete(keys) == arguments


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("colorize --keep\t", ["--keep-skin"]),
        ("colorize sketch.png --line\t1", ["sketch.png", "--line-strength", "1"]),
        ("colorize --device cu\t", ["--device", "cuda"]),
        ("colorize --format we\t", ["--format", "webp"]),
        ("colorize --vers\t", ["--version"]),
        ("colorize stu\t", ["studio"]),
        ("colorize studio --po\t80", ["studio", "--port", "80"]),
        ("colorize studio --max-w\t3", ["studio", "--max-waiting", "3"]),
        ("colorize studio --model fra\tf\t", ["studio", "--model", "frames/f1.png"]),
    ],
)
def test_options_and_the_studio_are_completed(
    terminal: Terminal, keys: str, arguments: list[str]
) -> None:
    assert terminal.complete(keys) == arguments


def test_without_the_extra_the_option_says_which_one_to_install(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ModuleNotFoundError('No module named shtab')")
    done = subprocess.run(
        [sys.executable, "-m", "colorizer", "--print-completion", "bash"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: --print-completion needs shtab: pip install 'image-colorizer[serve]'\n"
    )
