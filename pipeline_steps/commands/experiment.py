"""``python -m pipeline_steps experiment FILE [key=value …]``: a DVC experiment with other params.

The params in FILE and the assignments are written into ``params.yaml`` and ``dvc exp run`` is
started. The source of pairs is checked first. A run that fails leaves ``params.yaml`` and
``dvc.lock`` as they were, one that succeeds leaves the experiment's, as DVC does.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colorizer.base.files import write_bytes
from pipeline_steps.commands.dvc_lock import quarantine_truncated_lock
from pipeline_steps.commands.overrides import parse_assignments, read_overrides, split_words
from pipeline_steps.params import PARAMS_FILE, read_params

LOCK_FILE = Path("dvc.lock")


def main() -> None:
    """Check params and source, run the experiment, and register its model if that is wanted."""
    arguments = parse_arguments()
    assignments = parse_assignments([*split_words(arguments.set), *arguments.words])
    if arguments.pairs is not None:
        assignments["download.source"] = "archive"
        assignments["download.path"] = str(Path(arguments.pairs).expanduser().resolve())
    overrides = read_overrides(arguments.file, assignments)
    changed = Path(".work/params.yaml")
    write_changed(changed, overrides)
    run_or_exit([sys.executable, "-m", "pipeline_steps", "source", str(changed)])
    quarantine_truncated_lock(LOCK_FILE.resolve())
    with restored_on_failure(PARAMS_FILE, LOCK_FILE):
        write_bytes(PARAMS_FILE, changed.read_bytes())
        run_or_exit(["dvc", "exp", "run"])
    if read_params().tracking.register_experiments:
        run_or_exit([sys.executable, "-m", "pipeline_steps", "register"])
    else:
        print("not registered: `python -m pipeline_steps register` makes it the candidate")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps experiment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="params to change")
    parser.add_argument("words", nargs="*", metavar="key=value", help="e.g. train.epochs=30")
    parser.add_argument("--set", default="", metavar="WORDS", help="more of them, as one argument")
    parser.add_argument("--pairs", metavar="PATH", help="your own pairs: download.path, no YAML")
    return parser.parse_intermixed_args()


def write_changed(path: Path, overrides: dict[str, Any]) -> None:
    """Write ``params.yaml`` with dotted keys set, its comments kept."""
    from dvc.utils.serialize import modify_yaml

    write_bytes(path, PARAMS_FILE.read_bytes())
    with modify_yaml(str(path)) as tree:
        for key, value in overrides.items():
            section, name = key.split(".", 1)
            branch = tree[section]
            *inner, last = name.split(".")
            for each in inner:
                branch = branch[each]
            branch[last] = value


@contextmanager
def restored_on_failure(*paths: Path) -> Iterator[None]:
    """Write files back as they were, or delete them, if the block is left by an exception."""
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_bytes(path, content)
        raise


def run_or_exit(command: list[str]) -> None:
    """Run a command; if it fails, exit as it did: it has said why."""
    code = subprocess.run(command).returncode
    if code:
        sys.exit(code if code > 0 else 128 - code)
