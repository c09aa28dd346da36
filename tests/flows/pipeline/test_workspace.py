"""The clone for retrainings: its ref, param overrides, shared cache and lock."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.config import Config

from flows.errors import WorkspaceError
from flows.pipeline.stage_subprocess import reproduce_in_subprocess
from flows.pipeline.workspace import claim_workspace, count_uncommitted, prepare_workspace
from pipeline_steps.base.errors import ParamError
from pipeline_steps.params import read_params

REPOSITORY = Path(__file__).parents[3]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / ".dvc").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "clone"


def epochs(folder: Path) -> int:
    return int(yaml.safe_load((folder / "params.yaml").read_text())["train"]["epochs"])


def test_the_clone_has_the_ref_the_overrides_and_the_shared_cache(
    repository: Path, clone: Path
) -> None:
    workspace = prepare_workspace(clone, repository, "main", {"train.epochs": 7})
    assert workspace.commit == git(repository, "rev-parse", "main")
    assert workspace.params.train.epochs == 7
    assert f"dir = {repository / '.dvc' / 'cache'}\n" in (clone / ".dvc/config.local").read_text()
    assert epochs(repository) != 7


@pytest.mark.parametrize("is_relative", [False, True])
def test_local_settings_of_dvc_keep_their_meaning_in_the_clone(
    repository: Path, clone: Path, tmp_path: Path, is_relative: bool
) -> None:
    cache, storage, key = (tmp_path / name for name in ("cache", "storage", "key"))
    above = "../.." if is_relative else tmp_path
    (repository / ".dvc/config.local").write_text(
        f"[cache]\n    dir = {above}/cache\n    type = copy\n[core]\n    remote = near\n"
        f"['remote \"near\"']\n    url = {above}/storage\n"
        f"['remote \"far\"']\n    url = ssh://host/a\n    keyfile = {above}/key\n"
    )
    for _ in range(2):  # also where an earlier run has left unreadable settings
        prepare_workspace(clone, repository, "HEAD", {})
        settings = Config(str(clone / ".dvc"))
        assert settings["cache"]["dir"] == str(cache)
        assert settings["cache"]["type"] == ["copy"]
        assert settings["core"]["remote"] == "near"
        assert settings["remote"]["near"]["url"] == str(storage)
        assert settings["remote"]["far"]["url"] == "ssh://host/a"
        assert settings["remote"]["far"]["keyfile"] == str(key)
        (clone / ".dvc/config.local").write_text("[cache]\n[cache]\n")


def test_what_the_repository_has_run_is_restored_in_the_clone(
    repository: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (repository / "input").write_text("one")
    stage = {"cmd": "cp input output && date >> times", "deps": ["input"], "outs": ["output"]}
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": stage}}))
    assert reproduce_in_subprocess("copy", repository, force=False, on_line=print) == "ran"
    git(repository, "add", "dvc.yaml", "dvc.lock", "input")
    git(repository, "commit", "-qm", "run")

    prepare_workspace(clone, repository, "HEAD", {})
    assert reproduce_in_subprocess("copy", clone, force=False, on_line=print) == "restored"
    assert (clone / "output").read_text() == "one"
    assert not (clone / "times").exists()


def test_a_truncated_dvc_lock_does_not_fail_later_runs(repository: Path, clone: Path) -> None:
    prepare_workspace(clone, repository, "HEAD", {})
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages:\n  download:\n    cm")
    prepare_workspace(clone, repository, "HEAD", {})
    assert not (clone / "dvc.lock").exists()


def test_overrides_apply_to_one_run_and_outputs_are_kept(repository: Path, clone: Path) -> None:
    prepare_workspace(clone, repository, "HEAD", {"train.epochs": 7})
    (clone / "dvc.lock").write_text("schema: '2.0'\n")
    (clone / ".work" / "train").mkdir(parents=True)
    workspace = prepare_workspace(clone, repository, "HEAD", {})
    assert workspace.params.train.epochs == epochs(repository)
    assert git(clone, "status", "--porcelain", "--untracked-files=no") == ""
    assert (clone / "dvc.lock").exists()
    assert (clone / ".work" / "train").is_dir()


def test_uncommitted_edits_are_neither_used_nor_changed(repository: Path, clone: Path) -> None:
    params = repository / "params.yaml"
    committed = read_params(params).train.epochs
    edited = params.read_text().replace(f"epochs: {committed}\n", "epochs: 99\n", 1)
    params.write_text(edited)
    assert count_uncommitted(repository) == 1
    assert prepare_workspace(clone, repository, "HEAD", {}).params.train.epochs == committed
    assert params.read_text() == edited


def test_new_commits_are_fetched(repository: Path, clone: Path) -> None:
    prepare_workspace(clone, repository, "main", {})
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    workspace = prepare_workspace(clone, repository, "main", {})
    assert workspace.commit == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("ref", ["no-such-branch", "", "--upload-pack=x", "deadbeef"])
def test_an_unknown_ref_is_named(repository: Path, clone: Path, ref: str) -> None:
    with pytest.raises(WorkspaceError, match="branch, a tag or a commit"):
        prepare_workspace(clone, repository, ref, {})


def test_a_folder_that_is_not_a_repository_is_named(tmp_path: Path, clone: Path) -> None:
    with pytest.raises(WorkspaceError, match="not a git repository"):
        prepare_workspace(clone, tmp_path, "HEAD", {})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.epoch": 3}, "train.epoch: unknown key"),
        ({"trian.epochs": 3}, "trian.epochs: unknown key"),
        ({"epochs": 3}, "epochs: unknown key"),
        ({"train.epochs": "many"}, "train.epochs: must be int"),
        ({"train.epochs": 0}, "train.epochs: must be ≥ 1"),
        ({"promotion.margins.l1": -1}, "promotion.margins.l1: must be ≥ 0"),
    ],
)
def test_a_bad_override_is_refused_by_name(
    repository: Path, clone: Path, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ParamError, match=message):
        prepare_workspace(clone, repository, "HEAD", overrides)


def test_edits_in_the_clone_are_not_discarded(repository: Path, clone: Path) -> None:
    prepare_workspace(clone, repository, "HEAD", {})
    (clone / "dvc.yaml").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"someone edited dvc\.yaml"):
        prepare_workspace(clone, repository, "HEAD", {})
    assert (clone / "dvc.yaml").read_text() == "mine"


def test_a_relative_path_of_pairs_is_relative_to_the_repository(
    repository: Path, clone: Path
) -> None:
    overrides = {"download.source": "archive", "download.path": "pairs.zip"}
    workspace = prepare_workspace(clone, repository, "HEAD", overrides)
    assert workspace.params.download.path == str(repository / "pairs.zip")


def test_a_second_concurrent_retraining_is_refused(repository: Path) -> None:
    with (
        claim_workspace(repository) as folder,
        pytest.raises(WorkspaceError, match="another retraining"),
        claim_workspace(repository),
    ):
        pass
    with claim_workspace(repository) as again:
        assert again == folder


def test_a_full_disk_is_reported_in_one_line(
    repository: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = repository.parent / "bin"
    hooks.mkdir()
    (hooks / "git").write_text(
        "#!/bin/sh\n[ $1 = clone ] && { echo 'fatal: No space left on device' >&2; exit 128; }\n"
        f'exec {shutil.which("git")} "$@"\n'
    )
    (hooks / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(hooks), prepend=":")
    with pytest.raises(WorkspaceError, match="No space left on device"):
        prepare_workspace(clone, repository, "HEAD", {})
