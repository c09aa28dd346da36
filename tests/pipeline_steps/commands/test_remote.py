"""DVC's remote in a bucket: results of one clone are another's, and errors are one line."""

import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from colorizer.base.errors import ObjectStoreError, ObjectStoreUnreachableError
from colorizer.base.object_store import delete, list_files
from flows.pipeline.stage_subprocess import reproduce_in_subprocess
from pipeline_steps.base.errors import RemoteError
from pipeline_steps.commands import remote
from tests.s3_servers import SECRET_KEY, S3Server
from tests.whole.prefect_stack import free_port

REPOSITORY = Path(__file__).parents[3]
STAGE = {"cmd": "python make_copy.py", "deps": ["input", "make_copy.py"], "outs": ["output"]}


def make_repository(folder: Path, endpoint: str = "", url: str = "s3://pairs/dvc") -> Path:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text((REPOSITORY / ".dvc" / "config").read_text())
    if url:
        (folder / ".dvc" / "config.local").write_text(
            f"""
[core]
    remote = store
['remote "store"']
    url = {url}
    endpointurl = {endpoint}
    access_key_id = testkey
    secret_access_key = {SECRET_KEY}
"""
        )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / "input").write_text("one")
    (folder / "make_copy.py").write_text("import shutil; shutil.copy('input', 'output')")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": STAGE}}))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, action: str) -> None:
    monkeypatch.setattr("sys.argv", ["remote", action])
    with chdir(folder):
        remote.main()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_one_clone_pushed_another_restores(
    s3_store: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    first = make_repository(tmp_path / "first", s3_store.url)
    lines: list[str] = []

    def reproduce(folder: Path) -> str:
        return reproduce_in_subprocess("copy", folder, force=False, pull=True, on_line=lines.append)

    run(monkeypatch, first, "fetch")
    assert capsys.readouterr().out == "remote: fetched 0 files from s3://pairs/dvc\n"
    assert reproduce(first) == "ran", lines
    run(monkeypatch, first, "push")
    assert capsys.readouterr().out == "remote: pushed 2 files to s3://pairs/dvc\n"

    second = make_repository(tmp_path / "second", s3_store.url)
    run(monkeypatch, second, "fetch")
    assert reproduce(second) == "restored", lines
    assert (second / "output").read_text() == "one"

    third = make_repository(tmp_path / "third", s3_store.url)
    shutil.copy(second / "dvc.lock", third)
    (stored,) = (e for e in list_files("s3://pairs/dvc/") if "/runs/" not in e.address)
    delete(stored.address)
    run(monkeypatch, third, "fetch")
    assert reproduce(third) == "ran", lines


def test_a_remote_that_cant_be_used_is_one_line(
    s3_store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteError, match="no default remote: `dvc remote add --default store"):
        run(monkeypatch, make_repository(tmp_path / "none", url=""), "push")
    gone = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ObjectStoreUnreachableError, match=f"s3://pairs/dvc: no answer from {gone}"):
        run(monkeypatch, make_repository(tmp_path / "gone", gone), "push")
    other = make_repository(tmp_path / "other", s3_store.url, "s3://no-bucket/dvc")
    with pytest.raises(ObjectStoreError, match="s3://no-bucket/dvc: there is no such bucket"):
        run(monkeypatch, other, "fetch")
