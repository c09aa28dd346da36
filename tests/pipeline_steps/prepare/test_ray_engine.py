"""Prepare on a Ray cluster: the same bytes, also when workers, machines and pictures fail."""

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from colorizer.base.errors import RayClusterError, RayClusterUnreachableError
from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import UInt8Array
from pipeline_steps.prepare.archive_index import index_archive
from pipeline_steps.prepare.chunk_worker import CHUNK_PAIRS, CRASHES
from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import ListedPair, find_pairs
from pipeline_steps.prepare.reading import PairRules
from pipeline_steps.prepare.worker_pool import pack_pairs_in_pool
from tests.pipeline_steps.prepare.test_worker_pool import RULES, pack_or_crash, write_archive
from tests.ray_clusters import NODE, descendants, running_cluster, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NUM_PAIRS = 12 * CHUNK_PAIRS


@dataclass
class Packed:
    """What was written, and a text that differs if the facts do."""

    pairs: bytes
    truths: bytes
    facts: str


def pack_slowly(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    time.sleep(0.05)
    return pack_pair(archive, pair, rules)


def pack_all(folder: Path, **options: Any) -> Packed:
    archive = index_archive(folder / "pairs.zip", folder)
    listing = find_pairs([member.filename for member in archive.members])
    unsplit = pack_pairs_in_pool(archive, listing.pairs, RULES, folder, **options)
    reasons = {number: facts.reason for number, facts in enumerate(unsplit.facts) if facts.reason}
    crashing = {5: CRASHES, 9: "too large: not enough memory"}
    assert reasons == (crashing if options.get("pack") == pack_or_crash else {})
    with np.printoptions(threshold=sys.maxsize):
        facts = repr(list(unsplit.facts))
    return Packed(unsplit.pairs_path.read_bytes(), unsplit.truths_path.read_bytes(), facts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    write_archive(folder / "pairs.zip", NUM_PAIRS)
    return folder


@pytest.fixture(scope="module")
def local(folder: Path) -> Packed:
    return pack_all(folder, workers=1)


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Any]:
    with running_cluster(cpus=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RAY_ADDRESS", _cluster.address)
    return _cluster


def in_background(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_a_cluster_of_ones_own_gives_the_bytes_of_the_local_engine_and_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    local = pack_all(folder, workers=1, pack=pack_or_crash)
    assert pack_all(folder, engine="ray", workers=2, pack=pack_or_crash) == local
    assert not descendants("ray") + descendants("gcs_server")


def test_nothing_is_lost_when_workers_are_killed(folder: Path, local: Packed, cluster: Any) -> None:
    killed = []

    def kill_two() -> None:
        for _ in range(2):
            actor = wait_for(lambda: descendants("ray::_Remote.wo"))[0]
            time.sleep(0.2)
            actor.kill()
            killed.append(actor.pid)
            actor.wait(10)

    killer = in_background(kill_two)
    assert pack_all(folder, engine="ray", pack=pack_slowly) == local
    killer.join(10)
    assert len(killed) == 2


def test_nothing_is_lost_when_a_machine_is_killed(
    folder: Path, local: Packed, cluster: Any
) -> None:
    machine = cluster.add_node(num_cpus=1, **NODE)

    def kill_it() -> None:
        wait_for(lambda: len(descendants("ray::_Remote")) == 3)
        time.sleep(0.5)
        cluster.remove_node(machine, allow_graceful=False)

    killer = in_background(kill_it)
    assert pack_all(folder, engine="ray", pack=pack_slowly) == local
    killer.join(10)
    assert len(cluster.list_all_nodes()) == 1


def test_a_machine_that_does_not_see_the_archive_is_told_of(
    folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Path.is_file
    # as if it lay on a disk of this machine alone
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/elsewhere") / path.name)
    assert not ours(Path("/elsewhere/pairs.zip"))
    with pytest.raises(DataError, match=r"pairs\.zip: a machine of the Ray cluster doesn't see it"):
        pack_all(folder, engine="ray")


def test_a_cluster_of_another_version_is_refused(
    folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "2.1.0")
    with pytest.raises(RayClusterError, match=r"another version than here: .*Ray: 2\.1\.0"):
        pack_all(folder, engine="ray")


def test_machines_with_other_packages_are_refused(
    folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorizer.base import ray_actors

    ours = ray_actors.describe_versions()
    monkeypatch.setattr(ray_actors, "describe_versions", lambda: ours | {"pillow": "1.0"})
    with pytest.raises(RayClusterError, match=r"has pillow \S+ instead of 1\.0: outputs might"):
        pack_all(folder, engine="ray")


def test_sigterm_leaves_no_process_of_ray(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline_steps.base.errors import run_main\n"
        "from tests.pipeline_steps.prepare import test_ray_engine as t\n"
        "folder = Path(sys.argv[1])\n"
        "run_main(lambda: t.pack_all(folder, engine='ray', workers=1, pack=t.pack_slowly))\n"
    )
    os.link(folder / "pairs.zip", tmp_path / "pairs.zip")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(Path.cwd())},
    )
    wait_for(lambda: descendants("ray::_Remote.wo"))
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 143
    assert told.splitlines()[-1] == "interrupted: run the same command again to resume"
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive


def test_a_cluster_that_is_gone_is_told_of_before_ray_ends_the_process(
    folder: Path, cluster: Any
) -> None:
    def kill_the_head() -> None:
        wait_for(lambda: descendants("ray::_Remote"))
        time.sleep(1)
        for process in descendants("gcs_server"):
            process.kill()

    in_background(kill_the_head)
    with pytest.raises(RayClusterUnreachableError, match="is gone"):
        pack_all(folder, engine="ray", pack=pack_very_slowly)


def pack_very_slowly(
    archive: zipfile.ZipFile, pair: ListedPair, rules: PairRules
) -> tuple[PairFacts, UInt8Array | None]:
    time.sleep(1)
    return pack_pair(archive, pair, rules)
