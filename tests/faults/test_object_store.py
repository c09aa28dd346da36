"""SeaweedFS killed in the middle of push, pull and register: nothing lost, no half version.

With ``FAULTS=full`` each ten times, at random moments of the transfer.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

from colorizer.base.files import file_sha256, write_json
from colorizer.base.object_store import list_files, read_bytes
from colorizer.model.folder import compute_checksums
from colorizer.model.registry import download_folder, require_registered
from pipeline_steps.base.paths import EXPORTED_MODEL
from pipeline_steps.params import Params
from pipeline_steps.tracking import mlflow_server
from tests.faults.faulty_proxy import FaultyProxy, mlflow_behind_proxy
from tests.faults.report import FULL, report
from tests.pipeline_steps.register.outputs import NAME, REPOSITORY, write_outputs
from tests.s3_servers import S3Server, SeaweedFS, seaweedfs

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800 if FULL else 600)]

ROUNDS = 10 if FULL else 1
LIMIT_S = 180.0
FILE_BYTES, NUM_FILES = 1_000_000, 24
REGISTER = ("-m", "pipeline_steps", "register")
PUSH, FETCH = (
    ("-m", "pipeline_steps", "remote", "push"),
    ("-m", "pipeline_steps", "remote", "fetch"),
)
DVC = ("-m", "dvc")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


def client_environment(store: S3Server | None, **others: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC", "AWS_"))}
    found = kept | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return found | (store.environment if store else {}) | others


def run(
    folder: Path, environment: dict[str, str], *command: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def kill_during(
    store: SeaweedFS,
    folder: Path,
    command: Sequence[str],
    *,
    count_bytes: Callable[[], int],
    num_bytes: int,
) -> str:
    """Run a command, and kill the store when a random part of the bytes has arrived.

    Starts the store again when the command has ended. Returns its last line; fails if that isn't
    one line of ours.
    """
    before, wanted = count_bytes(), random.random() * num_bytes
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=client_environment(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline_s = time.monotonic() + LIMIT_S
    while count_bytes() - before <= wanted and process.poll() is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    store.kill()
    killed_s = time.monotonic()
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    ended_s = time.monotonic() - killed_s
    line = (output.strip().splitlines() or [""])[-1]
    assert "Traceback" not in output, output
    assert process.returncode in (0, 75), output
    assert line.startswith("error: ") == (process.returncode == 75), output
    report(
        f"object store: {command[-1]}: killed at {wanted / num_bytes:.0%} of the bytes;"
        f" exit code {process.returncode} after {ended_s:.1f} s: {line[:200]}"
    )
    assert store.start() < 60
    return line


def size_of(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.rglob(pattern):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # renamed meanwhile
            continue
    return total


def count_stored(store: SeaweedFS) -> int:
    return size_of(store.folder / "data", "*.dat")


def test_pushes_and_pulls_go_on_where_a_killed_store_ended_them(
    store: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.use(monkeypatch)
    environment = client_environment(store)
    repository = tmp_path / "repository"
    repository.mkdir()
    for command in (
        "git init -q",
        "python -m dvc init -q",
        "python -m dvc remote add -q --default store s3://pairs/dvc",
    ):
        words = command.split()
        program = sys.executable if words[0] == "python" else words[0]
        subprocess.run([program, *words[1:]], cwd=repository, env=environment, check=True)
    cache, sizes = repository / ".dvc" / "cache", NUM_FILES * FILE_BYTES
    for number in range(ROUNDS):
        wanted = {}
        for index in range(NUM_FILES):
            content = random.randbytes(FILE_BYTES)
            file = repository / "data" / f"{index}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            wanted[file] = hashlib.md5(content).hexdigest()
        assert run(repository, environment, *DVC, "add", "-q", "data").returncode == 0
        kill_during(
            store, repository, PUSH, count_bytes=lambda: count_stored(store), num_bytes=sizes
        )
        require_whole_files()
        done = run(repository, environment, *PUSH)
        assert done.returncode == 0, done.stderr
        stored = require_whole_files()
        assert set(wanted.values()) <= stored

        shutil.rmtree(cache)
        shutil.rmtree(repository / "data")
        kill_during(
            store,
            repository,
            FETCH,
            count_bytes=lambda: size_of(cache / "files", "*"),
            num_bytes=sizes,
        )
        for path in (cache / "files").rglob("*"):
            if path.is_file() and not path.name.endswith(".dir") and len(path.name) == 30:
                assert hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name
        done = run(repository, environment, *FETCH)
        assert done.returncode == 0, done.stderr
        assert run(repository, environment, *DVC, "checkout", "-q").returncode == 0
        assert {p: hashlib.md5(p.read_bytes()).hexdigest() for p in wanted} == wanted
        report(f"object store: round {number + 1} of push and pull: all {len(stored)} files whole")


def require_whole_files() -> set[str]:
    """The MD5s of DVC's files in the bucket; fail if one isn't that of its content."""
    found = set()
    for each in list_files("s3://pairs/dvc/files/md5/"):
        name = each.address.removeprefix("s3://pairs/dvc/files/md5/").replace("/", "")
        assert hashlib.md5(read_bytes(each.address)).hexdigest() == name.removesuffix(".dir")
        found.add(name)
    return found


@pytest.fixture
def clone(params: Params, tmp_path: Path) -> Path:
    """The outputs of a small model."""
    with chdir(tmp_path):
        write_outputs(params)
    return tmp_path


def change_model() -> None:
    """Another model file in the current folder's export, with valid checksums."""
    model = onnx.load(EXPORTED_MODEL / "generator.onnx")
    model.doc_string = random.randbytes(2_000_000).hex()
    onnx.save(model, EXPORTED_MODEL / "generator.onnx")
    (EXPORTED_MODEL / "checksums.json").unlink()
    write_json(EXPORTED_MODEL / "checksums.json", compute_checksums(EXPORTED_MODEL))


@pytest.mark.filterwarnings("default")
def test_registering_goes_on_where_a_killed_store_ended_it(
    store: SeaweedFS, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.use(monkeypatch)
    monkeypatch.chdir(clone)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow_server.connect()
    client.create_experiment(NAME, artifact_location="s3://pairs/direct")
    num_bytes = (EXPORTED_MODEL / "generator.onnx").stat().st_size + 4_000_000
    for number in range(ROUNDS):
        change_model()
        kill_during(
            store, clone, REGISTER, count_bytes=lambda: count_stored(store), num_bytes=num_bytes
        )
        require_whole_versions(client)
        done = run(clone, client_environment(store), *REGISTER)
        assert done.returncode == 0, done.stderr
        numbers = require_whole_versions(client)
        assert len(numbers) == number + 1
        registered = {client.get_model_version(NAME, n).tags["model_sha256"] for n in numbers}
        assert file_sha256(EXPORTED_MODEL / "generator.onnx") in registered
        report(f"object store: round {number + 1} of register: all {len(numbers)} versions whole")


def require_whole_versions(client: "MlflowClient") -> list[str]:
    """The numbers of all versions; fail if a file of one is missing or another."""
    import tempfile

    versions = client.search_model_versions(f"name = '{NAME}'")
    for version in versions:
        with tempfile.TemporaryDirectory() as folder:
            download_folder(NAME, int(version.version), Path(folder))
            require_registered(f"version {version.version}", Path(folder), dict(version.tags))
    return [str(version.version) for version in versions]


@pytest.fixture(scope="module")
def proxy(store: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    with mlflow_behind_proxy(tmp_path_factory.mktemp("server"), store) as proxy:
        yield proxy


def test_a_model_too_large_for_the_proxy_goes_to_the_bucket_in_parts(
    store: SeaweedFS, proxy: FaultyProxy, clone: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(proxy.url)
    # the server alone has the keys of the bucket
    environment = client_environment(None, MLFLOW_TRACKING_URI=proxy.url, NO_PROXY="127.0.0.1")
    proxy.max_body_bytes = 100_000
    done = run(clone, environment, *REGISTER)
    assert done.returncode == 1
    assert "/model.onnx answered 413 Request Entity Too Large to 2" in done.stderr
    assert client.search_registered_models() == []

    in_parts = environment | {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "100000"}
    done = run(clone, in_parts, *REGISTER)
    assert done.returncode == 0, done.stderr
    assert f"register: {NAME} is now version 1" in done.stdout
    assert proxy.num_puts("model.onnx") == 1
    load = f"from colorizer import Colorizer; Colorizer.load('models:/{NAME}@candidate')"
    fetched = run(clone, environment | {"COLORIZER_CACHE": str(clone / "cache")}, "-c", load)
    assert fetched.returncode == 0, fetched.stderr

    proxy.max_body_bytes = None
    with chdir(clone):
        change_model()
    store.kill()
    done = run(clone, environment, *REGISTER)
    assert done.returncode == 75, done.stderr
    assert len(done.stderr.splitlines()) == 1
    report(f"object store: behind MLflow's server, killed: {done.stderr.strip()}")
    assert [v.version for v in client.search_model_versions(f"name = '{NAME}'")] == ["1"]
    store.start()
    done = run(clone, environment, *REGISTER)
    assert done.returncode == 0, done.stderr
    assert f"register: {NAME} is now version 2" in done.stdout
