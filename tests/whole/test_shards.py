"""The pipeline with its training pairs as shards in a bucket: killed, resumed, one missing."""

import signal
import subprocess
import sys
import time

import pytest

from tests.s3_servers import S3Server, moto_server
from tests.whole.clone import Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN = (sys.executable, "-m", "pipeline_steps", "train")
PACKED = {
    "prepare": {"shard_pairs": 4},
    "train": {
        "epochs": 10,
        "shuffle_shards": 2,
        "checkpoint_interval_s": 0.0,
        "sample_every_epochs": 10,
    },
    "scores": {"st_lpips": False},
}
COMPARED = (
    "models/generator.safetensors",
    "models/generator_last.safetensors",
    "reports/train/history.csv",
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = make_small_clone(tmp_path_factory.mktemp("shards") / "repository")
    clone.set_params(PACKED)
    clone.dvc("repro", "train")
    return clone


def kill_in_training(clone: Clone, store: S3Server) -> None:
    """Kill the training with -9, once it has had several checkpoints."""
    process = subprocess.Popen(
        TRAIN,
        cwd=clone.folder,
        env=clone.environment | store.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen: set[str] = set()
    try:
        while len(seen) < 6:
            assert process.poll() is None, process.communicate()
            seen |= {path.name for path in clone.folder.glob(".work/train/*/checkpoint-*")}
            time.sleep(0.01)
    finally:
        process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_training_from_a_bucket_that_is_killed_ends_with_the_bytes_of_packed_pairs(
    packed: Clone,
) -> None:
    expected = {file: packed.sha256(file) for file in COMPARED}
    clone = packed
    for folder in ("models", ".work"):
        clone.run("rm", "-r", folder)
    with moto_server() as store:
        clone.set_params({"prepare": {"shards": "s3://pairs/small"}})
        clone.run("dvc", "repro", "prepare", environment=store.environment)
        kill_in_training(clone, store)
        done = clone.run("dvc", "repro", "train", environment=store.environment)
    assert "resumes from the newest checkpoint" in done.stdout
    assert {file: clone.sha256(file) for file in COMPARED} == expected
    assert not list((clone.folder / ".work/shards").iterdir())

    # the same bucket, empty
    with moto_server() as store:
        failed = clone.run(*TRAIN, check=False, environment=store.environment)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    name = clone.json("data/prepared/shards.json")["shards"][0]["name"]
    assert line == (f"error: s3://pairs/small/{name}: no such shard; run `dvc repro -f prepare`")
