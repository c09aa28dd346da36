"""``colorize --engine ray``: the local engine's pictures, also when workers are killed."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from colorizer.base.object_store import upload
from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw
from tests.colorizer.test_batch import colorize, hashes, read_report
from tests.colorizer.test_stored_folders import COLOURED, SKETCHES, files, stored
from tests.ray_clusters import descendants, running_cluster, wait_for
from tests.s3_servers import S3Server

NUM_GOOD = 24
slow = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def sketches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketches")
    for number in range(NUM_GOOD):
        draw(300 + number, 200).save(folder / f"{number:02}.png")
    draw(40, 30).save(folder / "pages.tif", save_all=True, append_images=[draw(30, 30)])
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def local(sketches: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    assert colorize(model_folder, sketches, "-o", folder).returncode == 3
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_cluster(cpus=2) as cluster:
        yield cluster.address


def results(folder: Path) -> list[dict[str, Any]]:
    return [row | {"seconds": ""} for row in read_report(folder)]


class TestOnACluster:
    pytestmark = slow

    def test_pictures_and_report_are_those_of_the_local_engine_which_resumes_them(
        self,
        run: Callable[..., Ran],
        sketches: Path,
        local: Path,
        address: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.chdir(sketches.parent)  # paths are those of the command's folder
        done = run(sketches.name, "-o", tmp_path, "--engine", "ray")
        assert done.code == 3, done.err
        assert hashes(tmp_path) == hashes(local)
        assert results(tmp_path) == results(local)
        assert run(sketches, "-o", tmp_path).out.startswith(f"0 coloured, {NUM_GOOD + 2} skipped")

    def test_shards_on_a_cluster_with_killed_workers_lose_nothing(
        self,
        run: Callable[..., Ran],
        sketches: Path,
        local: Path,
        address: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", address)
        killed = []

        def kill_two() -> None:
            for _ in range(2):
                actor = wait_for(lambda: descendants("ray::_Remote.wo"))[0]
                time.sleep(0.1)
                actor.kill()
                killed.append(actor.pid)
                actor.wait(10)

        killer = threading.Thread(target=kill_two, daemon=True)
        killer.start()
        for number in (1, 2):
            shard = ("--shard", f"{number}/2", "--engine", "ray")
            assert run(sketches, "-o", tmp_path, *shard).code in (0, 3)
        killer.join(10)
        assert len(killed) == 2
        assert hashes(tmp_path) == hashes(local)

    def test_from_bucket_to_bucket_and_interrupted(
        self, sketches: Path, local: Path, model_folder: Path, s3_store: S3Server
    ) -> None:
        for path in sketches.iterdir():
            upload(path, SKETCHES + path.name)
        command = [sys.executable, "-m", "colorizer", SKETCHES, "-o", COLOURED, "--engine", "ray"]
        command += ["--workers", "1", "--model", str(model_folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: stored(COLOURED))
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert told.splitlines()[-1] == "interrupted; to resume, run the same command again"
        assert not psutil.wait_procs(started, timeout=5)[1]
        again = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert again.returncode == 3, again.stderr
        num_before = int(again.stdout.split()[2])
        assert 0 < num_before < NUM_GOOD
        assert stored(COLOURED) == files(local)


def test_without_ray_one_line_says_what_to_install(
    run: Callable[..., Ran], sketches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run(sketches, "-o", tmp_path / "out", "--engine", "ray")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: Ray isn't installed: pip install")


def test_an_address_where_no_cluster_is_colours_nothing(
    run: Callable[..., Ran], sketches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = run(sketches, "-o", tmp_path / "out", "--engine", "ray")
    assert done.code == 1
    assert "no Ray cluster answers there" in done.err.splitlines()[-1]


def test_one_sketch_needs_no_cluster(
    run: Callable[..., Ran], sketches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(sketches / "00.png", "-o", tmp_path / "a.png", "--engine", "ray")
    assert "--engine: needs a folder or several inputs" in capsys.readouterr().err
