"""The pipeline with its training pairs as shards in a bucket: killed, resumed, damaged."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.s3_servers import S3Server, moto_server
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN = (sys.executable, "-m", "pipeline_steps", "train")
PACKED = {
    "prepare": {"shard_pairs": 4},
    "train": {
        "epochs": 20,
        "shuffle_shards": 2,
        "checkpoint_interval_s": 0.0,
        "sample_every_epochs": 20,
    },
    "scores": {"st_lpips": False},
}
COMPARED = (
    "models/generator.safetensors",
    "models/generator_last.safetensors",
    "reports/train/history.csv",
)


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with moto_server() as store:
        yield store


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = make_small_clone(tmp_path_factory.mktemp("shards") / "repository")
    clone.set_params(PACKED)
    clone.commit()
    clone.dvc("repro", "train")
    return clone


@pytest.fixture(scope="module")
def sharded(packed: Clone, store: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Prepared to a bucket, not trained."""
    folder = tmp_path_factory.mktemp("sharded") / "repository"
    clone = packed.copy_to(folder, shares_cache=True)
    clone.set_params({"prepare": {"shards": "s3://pairs/small"}})
    clone.run("dvc", "repro", "prepare", environment=store.environment)
    return clone


def kill_in_training(clone: Clone, store: S3Server) -> None:
    """Kill the training with -9, once it has several checkpoints."""
    process = subprocess.Popen(
        TRAIN,
        cwd=clone.folder,
        env=clone.environment | store.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen: set[str] = set()
        while len(seen) < 12:
            assert process.poll() is None, process.communicate()
            seen |= {path.name for path in clone.folder.glob(".work/train/*/checkpoint-*")}
            time.sleep(0.01)
    finally:
        process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_training_from_a_bucket_that_is_killed_ends_with_the_bytes_of_packed_pairs(
    packed: Clone, sharded: Clone, store: S3Server
) -> None:
    assert not (sharded.folder / "models").exists()
    kill_in_training(sharded, store)
    done = sharded.run("dvc", "repro", "train", environment=store.environment)
    assert "resumes from the newest checkpoint" in done.stdout
    for file in COMPARED:
        assert sharded.sha256(file) == packed.sha256(file), file
    assert not list((sharded.folder / ".work/shards").iterdir())
    (entry,) = sharded.json("models/run.json")["data"].keys() - {"val"}
    assert entry == "train"


def test_a_bucket_without_a_shard_or_a_server_is_one_line_within_seconds(
    sharded: Clone, store: S3Server
) -> None:
    listed = sharded.json("data/prepared/shards.json")
    path = sharded.folder / "data/prepared/shards.json"
    text = path.read_text()
    path.unlink()  # it may be a link into DVC's cache
    path.write_text(text.replace(listed["address"], "s3://pairs/moved"))
    environments = {
        f"s3://pairs/moved/{listed['shards'][0]['name']}: no such shard": store.environment,
        "no answer from http://127.0.0.1:9": store.environment
        | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    }
    try:
        for message, environment in environments.items():
            failed = sharded.run(*TRAIN, check=False, environment=environment)
            assert failed.returncode
            (line,) = failed.stderr.splitlines()
            assert message in line
    finally:
        path.write_text(text)
