"""The Dockerfiles' steps, without Docker: what they copy, and the runtime's installation."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.whole.clone import REPOSITORY, list_files

DOCKERFILES = {path.name.partition(".")[0]: path for path in (REPOSITORY / "docker").iterdir()}
SOURCES = list_files()


def read_instructions(name: str) -> Iterator[tuple[str, str]]:
    """(instruction, argument) of a Dockerfile, lines joined, comments dropped."""
    lines = [line for line in DOCKERFILES[name].read_text().splitlines() if line[:1] != "#"]
    for line in filter(None, "\n".join(lines).replace("\\\n", " ").splitlines()):
        instruction, _, argument = line.partition(" ")
        yield instruction, argument


def is_ignored(file: str) -> bool:
    """Whether ``.dockerignore`` leaves a file out, by any of the folders that hold it."""
    patterns = (REPOSITORY / ".dockerignore").read_text().splitlines()
    places = [file, *map(str, Path(file).parents)]
    return any(
        fnmatch(place, pattern.removeprefix("**/"))
        or (pattern.startswith("**/") and fnmatch(Path(place).name, pattern[3:]))
        for pattern in patterns
        if pattern and not pattern.startswith("#")
        for place in places
    )


def copy_context(name: str, root: Path) -> Path:
    """Run WORKDIR and COPY below ``root``; return the folder in which RUN runs."""
    folder = root
    run_folder = root
    for instruction, argument in read_instructions(name):
        if instruction == "WORKDIR":
            folder = root / argument.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY" and not argument.startswith("--from="):
            *sources, target = [word for word in argument.split() if not word.startswith("--")]
            for source in sources:
                chosen = [f for f in SOURCES if Path(f).is_relative_to(source) or source == "."]
                assert chosen, f"COPY {source}: no such file"
                for file in filter(lambda file: not is_ignored(file), chosen):
                    inner = Path(file) if source == "." else Path(file).relative_to(source)
                    is_file = (REPOSITORY / source).is_file()
                    to = folder / target / (Path(file).name if is_file else inner)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    if (REPOSITORY / file).exists():
                        shutil.copy2(REPOSITORY / file, to)
            run_folder = folder
    return run_folder


def test_the_images_hold_all_sources_and_nothing_that_is_made_or_secret() -> None:
    assert set(DOCKERFILES) == {"runtime", "servers", "pipeline"}
    assert [file for file in SOURCES if is_ignored(file)] == []
    made = [
        *(
            "data/raw/pairs.zip",
            ".venv/bin/python",
            "mlflow.db",
            ".work/train/a",
            "models/run.json",
        ),
        *(
            ".dvc/cache/files/md5/00/1",
            "colorizer/__pycache__/a.pyc",
            "deploy/.env",
            "a/kaggle.json",
        ),
    ]
    assert [file for file in made if not is_ignored(file)] == []
    assert not is_ignored(".git/HEAD")  # DVC needs it, MLflow records its commit


def test_an_image_runs_as_an_ordinary_user_and_its_python_is_supported() -> None:
    for name in DOCKERFILES:
        instructions = list(read_instructions(name))
        # the last of each: that of the image itself, not of the stage that builds it
        assert dict(instructions)["USER"] == "1000"
        assert ("ARG", "PYTHON_DIGEST=") in instructions
        for base in [argument for instruction, argument in instructions if instruction == "FROM"]:
            version = re.match(r"python:3\.(\d+)-slim-\w+\${PYTHON_DIGEST}", base)
            assert version, f"{name}: {base} can't be pinned by PYTHON_DIGEST"
            assert 11 <= int(version[1]) <= 13


def test_the_pipelines_context_is_what_make_setup_needs(tmp_path: Path) -> None:
    folder = copy_context("pipeline", tmp_path)
    planned = subprocess.run(
        ["make", "-n", "setup"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert (
        "pip sync --quiet --compile-bytecode --python .venv/bin/python requirements.lock" in planned
    )
    assert (folder / "dvc.yaml").exists()


@pytest.mark.slow
def test_the_runtimes_steps_give_a_command_that_colours_without_torch(tmp_path: Path) -> None:
    """As the Dockerfile: its COPY and its `pip install`, in a new environment."""
    folder = copy_context("runtime", tmp_path / "image")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment = kept | {"PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    installs = [a for i, a in read_instructions("runtime") if i == "RUN" and a.startswith("pip ")]
    assert len(installs) == 1
    subprocess.run(shlex.split(installs[0]), cwd=folder, env=environment, check=True, timeout=600)
    shutil.rmtree(folder)  # the image's command doesn't depend on it
    script = "import colorizer.studio.server, importlib.util as u; print(u.find_spec('torch'))"
    done = subprocess.run(
        ["python", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "None", done.stderr
    (command,) = [a for i, a in read_instructions("runtime") if i == "ENTRYPOINT"]
    (arguments,) = [a for i, a in read_instructions("runtime") if i == "CMD"]
    words = [*yaml.safe_load(command), *yaml.safe_load(arguments), "--help"]
    assert subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True).returncode == 0


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert workflow["permissions"] == {"contents": "read"}
