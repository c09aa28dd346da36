"""Malicious pickles and YAML in every file that the commands read: none is executed."""

import ast
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.faults.conftest import ReferenceRun
from tests.faults.report import FULL, report
from tests.whole.clone import REPOSITORY, Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


class Bomb:
    """Creates a file when it's unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Bomb(canary))


def torch_saved(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"weights": Bomb(canary)}, file)
    return file.getvalue()


def npy(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    return file.getvalue()


def npz(canary: Path) -> bytes:
    file = io.BytesIO()
    np.savez(file, pixels=np.array([Bomb(canary)], dtype=object))
    return file.getvalue()


def yaml_code(canary: Path) -> bytes:
    return f"!!python/object/apply:os.system ['touch {canary}']\n".encode()


KINDS: dict[str, Callable[[Path], bytes]] = {
    "pickle": pickled,
    "torch.save": torch_saved,
    "npy": npy,
    "npz": npz,
    "yaml": yaml_code,
}
COMMANDS = {
    "data/raw/source.json": "prepare",
    "data/raw/pairs.zip": "prepare",
    "data/prepared/train.npy": "train",
    "data/prepared/val.npy": "train",
    "data/prepared/shards.json": "train",
    "data/prepared/test.npy": "evaluate",
    "data/prepared/train_mean.npy": "evaluate",
    "data/prepared/manifest.csv": "evaluate",
    "data/prepared/dataset.json": "export",
    "models/generator.safetensors": "evaluate",
    "models/run.json": "evaluate",
    "metrics/training.json": "export",
    "metrics/evaluation.json": "export",
    "reports/train/history.csv": "register",
    "models/colorizer/checksums.json": "register",
    "models/colorizer/config.json": "register",
    "models/colorizer/generator.onnx": "register",
    "params.yaml": "params",
}


@pytest.fixture(scope="module")
def finished(reference: ReferenceRun, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of a clone in which the pipeline has run, to write to."""
    folder = tmp_path_factory.mktemp("pickles") / "clone"
    return Clone(Path(shutil.copytree(reference.clone.folder, folder, symlinks=True)))


def choose_kinds(number: int) -> list[str]:
    """All kinds in a full run, else one kind for every other file."""
    kinds = list(KINDS)
    if FULL:
        return kinds
    return [] if number % 2 else [kinds[number // 2 % len(kinds)]]


def run_all(clone: Clone, files: dict[str, str], canary: Path) -> tuple[int, int]:
    """Plant each kind in each file and run the command that reads it: counts planted, refused."""
    originals = {file: (clone.folder / file).read_bytes() for file in files}
    planted = refused = 0
    for number, (file, command) in enumerate(files.items()):
        for kind in choose_kinds(number):
            replace(clone.folder / file, KINDS[kind](canary))
            done = clone.run(sys.executable, "-m", "pipeline_steps", command, check=False)
            planted += 1
            refused += bool(done.returncode)
            where = f"{kind} in {file}"
            assert not canary.exists(), f"{where} ran"
            assert "Traceback" not in done.stderr, f"{where}\n{done.stderr}"
            for each, data in originals.items():
                replace(clone.folder / each, data)
    return planted, refused


def replace(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # it may be a link into DVC's cache
    path.write_bytes(data)


def test_each_malicious_file_is_executed_by_an_unsafe_reader(tmp_path: Path) -> None:
    """Control: without it, the other tests could pass with harmless files."""
    for kind, make in KINDS.items():
        canary = tmp_path / kind
        data = make(canary)
        if kind == "yaml":
            yaml.load(data, yaml.UnsafeLoader)
        elif kind == "torch.save":
            torch.load(io.BytesIO(data), weights_only=False)
        elif kind == "pickle":
            pickle.loads(data)
        else:
            loaded = np.load(io.BytesIO(data), allow_pickle=True)
            _ = loaded["pixels"] if kind == "npz" else None
        assert canary.exists(), kind


def test_no_malicious_input_of_a_stage_is_executed(finished: Clone, tmp_path: Path) -> None:
    planted, refused = run_all(finished, COMMANDS, tmp_path / "canary")
    # `register` doesn't read the history of a model that is already registered
    unread = choose_kinds(list(COMMANDS).index("reports/train/history.csv"))
    assert refused == planted - len(unread)
    report(f"malicious files, stages: {planted} planted, 0 executed, {refused} refused")


def test_no_malicious_checkpoint_or_journal_is_executed(finished: Clone, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (work,) = (path.parent for path in finished.folder.glob(".work/train/*/outbox"))
    planted = 0
    names = ("right", "wrong", "outbox/journal.jsonl", "outbox/delivered.json")
    for number, name in enumerate((*names, "samples/epoch_0000.png")):
        for kind in choose_kinds(number):
            data = KINDS[kind](canary)
            digest = {"right": hashlib.sha256(data).hexdigest()[:16], "wrong": "0" * 16}.get(name)
            file = f"checkpoint-{10**11:012d}-{digest}.safetensors" if digest else name
            folder = tmp_path / f"{kind}-{number}"
            shutil.copytree(finished.folder, folder, symlinks=True)
            replace(folder / work.relative_to(finished.folder) / file, data)
            ran = Clone(folder).run(sys.executable, "-m", "pipeline_steps", "train", check=False)
            planted += 1
            assert not canary.exists(), f"{kind} in {file} ran"
            assert "Traceback" not in ran.stderr, f"{kind} in {file}\n{ran.stderr}"
            shutil.rmtree(folder)
    report(f"malicious files, checkpoints and outbox: {planted} planted, 0 executed")


def test_no_malicious_file_in_the_registry_is_executed(finished: Clone, tmp_path: Path) -> None:
    """Promotion and rollback ignore code, loaders and pickles stored with a model."""
    canary = tmp_path / "canary"
    clone = Clone(Path(shutil.copytree(finished.folder, tmp_path / "clone", symlinks=True)))
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{finished.folder}/mlflow.db"}
    (model,) = (path.parent for path in finished.folder.glob("mlruns/**/MLmodel"))
    code = f"import os\nos.system('touch {canary}')\n"
    (model / "code").mkdir()
    (model / "code" / "loader.py").write_text(f"{code}\ndef _load_pyfunc(path): return None\n")
    (model / "sitecustomize.py").write_text(code)
    for name in ("model.pkl", "python_model.pkl", "python_env.yaml", "requirements.txt"):
        (model / name).write_bytes(pickled(canary))
    flavors = yaml.safe_load((model / "MLmodel").read_text())
    flavors["flavors"]["python_function"] |= {"loader_module": "loader", "code": "code"}
    (model / "MLmodel").write_text(yaml.safe_dump(flavors))
    promoted = clone.run(sys.executable, "-m", "flows.promote", "1", check=False, environment=uri)
    assert not canary.exists()
    assert "Traceback" not in promoted.stderr, promoted.stderr
    kinds = choose_kinds(0)
    for kind in kinds:
        (model / "model.onnx").write_bytes(KINDS[kind](canary))
        refused = clone.run(
            sys.executable, "-m", "flows.rollback", "--to", "1", check=False, environment=uri
        )
        assert refused.returncode, kind
        assert "Traceback" not in refused.stderr, refused.stderr
        assert not canary.exists(), kind
    report(f"malicious files, registry: {7 + len(kinds)} planted, 0 executed")


def test_the_cache_of_the_compiler_contains_no_pickle(tmp_path: Path) -> None:
    script = """
import torch
from torch import nn
from pipeline_steps.train.compilation import can_compile, compile_network
assert can_compile(torch.device("cpu"))
network = compile_network(nn.Conv2d(1, 2, 3))
network(torch.zeros(1, 1, 8, 8)).mean().backward()
"""
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(REPOSITORY),
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    for file in files:
        with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError)):
            pickle.loads(file.read_bytes())


@pytest.mark.parametrize("package", ["colorizer", "flows", "pipeline_steps"])
def test_no_module_imports_or_calls_an_unsafe_reader(package: str) -> None:
    for path in (REPOSITORY / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
                if [alias.name for alias in node.names] == ["UnpicklingError"]:
                    continue
            assert not names & FORBIDDEN_IMPORTS, f"{path}:{node.lineno}"  # type: ignore[attr-defined]
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "yaml.unsafe_load"), path
                if called == "torch.load":
                    values = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert values.get("weights_only") == "True", path
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.unparse(keyword.value) == "False", path
                if called.endswith("np.load"):
                    assert "allow_pickle" in {keyword.arg for keyword in node.keywords}, path


def test_a_malicious_zip_member_is_rejected_as_not_a_picture(
    finished: Clone, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    archive_path = tmp_path / "pairs.zip"
    shutil.copyfile(finished.folder / "data/raw/pairs.zip", archive_path)
    with zipfile.ZipFile(archive_path, "a") as archive:
        for number, make in enumerate(KINDS.values()):
            archive.writestr(f"data/train/evil{number}.png", make(canary))
    clone = Clone(Path(shutil.copytree(finished.folder, tmp_path / "clone", symlinks=True)))
    clone.set_params({"download": {"source": "archive", "path": str(archive_path)}})
    for stage in ("download", "prepare"):
        clone.run(sys.executable, "-m", "pipeline_steps", stage)
    assert not canary.exists()
    manifest = (clone.folder / "data/prepared/manifest.csv").read_text()
    assert manifest.count("not a picture: no valid header") == len(KINDS)
    report(f"malicious files, zip members: {len(KINDS)} planted, 0 executed")
