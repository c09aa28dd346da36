"""The stage as a command, in a copy of the code that is edited between runs."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.shards import ShardList, write_shard_list
from tests.whole.clone import REPOSITORY, SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COMMAND = (sys.executable, "-m", "pipeline_steps", "train")
EPOCHS = 8


@pytest.fixture
def folder(tmp_path: Path, make_pairs: Callable[..., PackedPairs]) -> Path:
    """The code, small params and two packed splits; no git, no DVC."""
    folder = tmp_path / "repository"
    for package in ("colorizer", "pipeline_steps"):
        shutil.copytree(REPOSITORY / package, folder / package)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["prepare"] |= SMALL["prepare"]
    params["train"] |= SMALL["train"] | {"epochs": EPOCHS, "checkpoint_interval_s": 0.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name, number in (("train", 16), ("val", 4)):
        target = folder / f"data/prepared/{name}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        make_pairs(name, number).path.rename(target)
    packed = ShardList(shard_pairs=4, image_size=32, address=None)
    write_shard_list(folder / "data/prepared/shards.json", packed)
    return folder


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC"))}
    return kept | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def train(folder: Path) -> str:
    """Run the stage to its end; return its output."""
    done = subprocess.run(
        COMMAND, cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "No CUDA runtime" not in done.stderr
    return done.stdout


def interrupt(folder: Path, signal_number: signal.Signals) -> None:
    """Run the stage, and interrupt it once it has a checkpoint of its second epoch."""
    process = subprocess.Popen(
        COMMAND,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list(folder.glob(".work/train/*/samples/epoch_0001.png")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal_number)
        printed, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal_number, printed + errors


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "models/generator.safetensors").read_bytes()).hexdigest()


def edit(path: Path, old: str, new: str) -> None:
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))


def test_changed_code_starts_a_new_training_and_a_changed_docstring_resumes(folder: Path) -> None:
    losses, pixels = (
        folder / "pipeline_steps/train/losses.py",
        folder / "colorizer/base/pixels.py",
    )
    interrupt(folder, signal.SIGTERM)
    edit(losses, '"""', '"""Edited. ')
    edit(pixels, '"""', '"""Edited. ')
    assert "resumes from the newest checkpoint" in train(folder)
    first = weights(folder)
    assert "finished before" in train(folder)
    assert weights(folder) == first

    edit(pixels, "/ 127.5 - 1.0", "/ 127.5 - 0.9")
    printed = train(folder)
    assert "finished before" not in printed
    assert "resumes" not in printed
    assert weights(folder) != first
