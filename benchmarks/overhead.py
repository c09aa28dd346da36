"""Time the fixed cost of each stage, and of a ``dvc repro`` with nothing to do.

    python -m benchmarks.overhead [--against CHECKOUT]

Runs the pipeline on a few tiny pairs in a copy of this repository, and of another checkout for
comparison; then times every command of ``dvc.yaml`` again, among them a training that is already
finished.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from benchmarks.timing import spread

TINY: dict[str, dict[str, Any]] = {
    "download": {"sample_train_pairs": 12, "sample_test_pairs": 4},
    "prepare": {"image_size": 32, "val_fraction": 0.25},
    "train": {
        "epochs": 1,
        "generator_width": 4,
        "discriminator_width": 4,
        "load_size": 36,
        "sample_pairs": 2,
    },
    "evaluate": {"grid_pairs": 2},
}


def main() -> None:
    """Time both checkouts in alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    checkouts = {"here": Path.cwd()}
    if arguments.against:
        checkouts["against"] = arguments.against
    with tempfile.TemporaryDirectory() as folder:
        copies = {name: copy(path, Path(folder) / name) for name, path in checkouts.items()}
        seconds: dict[tuple[str, str], list[float]] = {}
        for _ in tqdm(range(arguments.rounds), mininterval=10):
            for name, path in copies.items():
                for stage, commands in commands_of(path).items():
                    took_s = sum(run(path, command) for command in commands)
                    seconds.setdefault((stage, name), []).append(took_s)
    for (stage, name), values in sorted(seconds.items()):
        print(f"  {stage:<16}{name:<10}{spread(values)} s")


def copy(checkout: Path, folder: Path) -> Path:
    """Copy a checkout's tracked files to a new repository, set tiny params, run all stages once."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=checkout, capture_output=True, text=True, check=True
    )
    for file in listed.stdout.splitlines():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(checkout / file, folder / file)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for section, changes in TINY.items():
        params[section].update(changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(folder, "git init -q")
    run(folder, "dvc repro -q")
    return folder


def commands_of(folder: Path) -> dict[str, list[str]]:
    """Each stage's commands, a no-op ``dvc repro`` and importing torch."""
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    commands = {
        name: [stage["cmd"]] if isinstance(stage["cmd"], str) else stage["cmd"]
        for name, stage in stages.items()
    }
    commands["dvc repro, no-op"] = ["dvc repro -q"]
    commands["import torch"] = ["python -c 'import torch'"]
    return commands


def run(folder: Path, command: str) -> float:
    """Run a shell command in a repository; return seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    environment = kept | {"PATH": path, "PYTHONPATH": str(folder)}
    start_s = time.perf_counter()
    subprocess.run(
        command, shell=True, cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()
