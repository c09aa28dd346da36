"""A clone of the repository with small params, and the commands of a user."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
REGISTER = (sys.executable, "-m", "pipeline_steps", "register")
SMALL: dict[str, Any] = {
    "download": {"sample_train_pairs": 24, "sample_test_pairs": 6},
    "prepare": {"image_size": 32, "val_fraction": 0.2},
    "train": {
        "epochs": 2,
        "batch_size": 4,
        "adversarial_start_fraction": 0.5,
        "generator_width": 4,
        "discriminator_width": 4,
        "hints": "none",  # their flow is a large part of what is exported
        "load_size": 36,
        "sample_every_epochs": 1,
        "sample_pairs": 2,
    },
    "evaluate": {"grid_pairs": 2},
}


class Clone:
    """A clone with small params; the methods run commands as a user does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, *command: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with this Python first on the path."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | (environment or {}),
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} gave {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # MAKE: a make below another prints the folders that it enters
        others = ("MLFLOW", "DVC", "GIT", "MAKE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        return kept | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.folder)}

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments).stdout

    def set_params(self, changes: dict[str, Any]) -> None:
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in changes.items():
            params[section].update(values)
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "work")

    def sha256(self, path: str) -> str:
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())

    def copy_to(self, folder: Path, *, shares_cache: bool = False) -> "Clone":
        """Clone it: the committed files only.

        With this one's DVC cache, stages that this one has run aren't run again.
        """
        self.run("git", "clone", "-q", str(self.folder), str(folder))
        clone = Clone(folder)
        if shares_cache:
            clone.dvc("cache", "dir", "--local", str(self.folder / ".dvc" / "cache"))
        return clone

    def versions(self) -> list[dict[str, Any]]:
        """All versions of the registered model: version, tags and aliases."""
        script = """
import json
from pipeline_steps.tracking.mlflow_server import connect
client = connect()
found = client.search_model_versions("name = 'sketch-colorizer'")
versions = [client.get_model_version(v.name, str(v.version)) for v in found]
print(json.dumps([{"version": v.version, "tags": v.tags, "aliases": v.aliases} for v in versions]))
"""
        done = self.run(sys.executable, "-c", script)
        versions: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return versions


def list_files() -> list[str]:
    """The working tree's files that are tracked or not ignored, relative to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split("\0")[:-1]


def make_small_clone(folder: Path, *, with_hints: bool = False) -> Clone:
    """Make a new repository of the working tree's files with small params, committed."""
    folder.mkdir()
    for file in list_files():
        if (REPOSITORY / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, folder / file)
    clone = Clone(folder)
    clone.run("git", "init", "-q", "-b", "main")
    clone.set_params(SMALL)
    if with_hints:
        clone.set_params({"train": {"hints": "points", "hints_start_fraction": 0.0}})
    clone.commit()
    return clone
