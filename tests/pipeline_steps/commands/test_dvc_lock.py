"""A ``dvc.lock`` truncated by a kill is quarantined, and no finished stage runs again."""

import shutil
from contextlib import chdir, nullcontext
from pathlib import Path

import pytest
from dvc.cli import main as dvc_main
from dvc.lock import make_lock

from pipeline_steps.commands.dvc_lock import quarantine_truncated_lock

PIPELINE = """
stages:
  first:
    cmd: echo one >> ran && cp params.yaml first
    deps: [params.yaml]
    outs: [first]
  second:
    cmd: echo two >> ran && cp first second
    deps: [first]
    outs: [second]
"""


def dvc(folder: Path, *arguments: str) -> int:
    """Run DVC's command line in this process; return its exit code."""
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        code: int = dvc_main(list(arguments))
        return code


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of two stages that have run."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("a: 1\n")
    assert dvc(folder, "init", "--no-scm") == 0
    assert dvc(folder, "repro") == 0
    return folder


@pytest.fixture
def lock(done: Path, tmp_path: Path) -> Path:
    """The ``dvc.lock`` of a copy."""
    return Path(shutil.copytree(done, tmp_path / "copy")) / "dvc.lock"


def test_no_stage_runs_again_after_a_truncation(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = lock.read_bytes()
    in_a_key = original.index(b"deps", original.index(b"second")) + 2
    in_a_character = original[:in_a_key] + "é".encode()[:1]
    for content in (b"", original[:1], original[:in_a_key], in_a_character):
        lock.write_bytes(content)
        assert dvc(lock.parent, "repro") != 0, "DVC accepts it: nothing to quarantine"
        capsys.readouterr()  # DVC's own message
        quarantine_truncated_lock(lock)
        assert capsys.readouterr().err.startswith("dvc.lock was truncated")
        assert dvc(lock.parent, "repro") == 0
        assert lock.read_bytes() == original
        assert (lock.parent / "ran").read_text() == "one\ntwo\n"


def test_every_truncation_is_quarantined_or_accepted_by_dvc(lock: Path) -> None:
    original = lock.read_bytes()
    for size in range(2, len(original), 97):
        lock.write_bytes(original[:size])
        quarantine_truncated_lock(lock)
        assert dvc(lock.parent, "status") == 0, original[:size]


@pytest.mark.parametrize("kind", ["none", "whole", "in conflict", "being written"])
def test_a_lock_that_is_not_truncated_is_kept(
    lock: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = {"whole": lock.read_text(), "in conflict": "<<<<<<< ours\n", "being written": ""}
    if kind == "none":
        lock.unlink()
    else:
        lock.write_text(text[kind])
    with (
        make_lock(str(lock.parent / ".dvc/tmp/lock")) if kind == "being written" else nullcontext()
    ):
        quarantine_truncated_lock(lock)
    assert (lock.read_text() if lock.exists() else None) == text.get(kind)
    assert capsys.readouterr().err == ""
