"""The clone that retrainings run in, so that a person's uncommitted edits don't affect them.

It is ``.work/retrain/clone``, and is kept from run to run: the next run resumes from its outputs
and checkpoints. DVC's cache is the repository's own.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from colorizer.base.files import write_text
from flows.errors import WorkspaceError
from pipeline_steps.base.paths import RETRAIN_WORK
from pipeline_steps.commands.dvc_lock import quarantine_truncated_lock
from pipeline_steps.commands.overrides import apply_overrides
from pipeline_steps.params import PARAMS_FILE, Params, load_yaml, parse_yaml, read_params

REWRITTEN = ("params.yaml", "dvc.lock")
"""Files that a retraining itself rewrites."""


@dataclass(frozen=True)
class Workspace:
    """A clone at a commit, params set."""

    folder: Path
    commit: str

    @property
    def params(self) -> Params:
        """The params it runs with."""
        return read_params(self.folder / "params.yaml")


@contextmanager
def claim_workspace(repository: Path) -> Iterator[Path]:
    """Hold the workspace of a repository; yields its folder, which may not exist yet.

    Raises :class:`WorkspaceError` if another retraining is in it.
    """
    home = repository.resolve() / RETRAIN_WORK
    home.mkdir(parents=True, exist_ok=True)
    try:
        claim = FileLock(home / "lock").acquire(blocking=False)
    except Timeout:
        raise WorkspaceError(
            f"{home}: another retraining is running here; wait for it or cancel it"
        ) from None
    with claim:
        yield home / "clone"


def prepare_workspace(
    folder: Path, repository: Path, ref: str, overrides: Mapping[str, Any]
) -> Workspace:
    """Bring a clone to a git ref of the repository, and set params in it.

    Outputs, checkpoints and, unless it's broken, ``dvc.lock`` of earlier runs stay. Raises
    :class:`WorkspaceError` if the repository or the ref doesn't exist or someone has edited the
    clone, and :class:`~pipeline_steps.base.errors.ParamError` if an override is refused.
    """
    repository = repository.resolve()
    commit = find_commit(repository, ref)
    if not (folder / ".git").exists():
        _git(folder.parent, "clone", "--quiet", "--no-checkout", str(repository), folder.name)
    _require_unedited(folder)
    refs = ("+refs/*:refs/source/*", "+HEAD:refs/source-head")
    _git(folder, "fetch", "--quiet", "--no-tags", "--prune", str(repository), *refs)
    branch = _branch_at(repository, ref, commit)  # which the training's run is tagged with
    checkout = ("-B", branch) if branch else ("--detach",)
    _git(folder, "checkout", "--quiet", "--force", *checkout, commit)
    _git(folder, "clean", "--quiet", "-fd", "--exclude", "dvc.lock")
    quarantine_truncated_lock(folder / "dvc.lock")
    _share_cache(folder, repository)
    set_params(folder / "params.yaml", repository, overrides)
    return Workspace(folder, commit)


def find_commit(repository: Path, ref: str) -> str:
    """The commit that a ref names. Raises :class:`WorkspaceError` if there is none."""
    if not (repository / ".git").exists():
        raise WorkspaceError(f"{repository}: not a git repository; a retraining runs in a clone")
    if not ref or ref.startswith("-"):
        raise WorkspaceError(f"{ref!r}: not a git ref; name a branch, a tag or a commit")
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except WorkspaceError:
        raise WorkspaceError(
            f"{repository}: has no git ref {ref!r}; name a branch, a tag or a commit of it"
        ) from None


def require_overrides(repository: Path, ref: str, overrides: Mapping[str, Any]) -> None:
    """Check overrides against the params at a ref.

    Raises :class:`WorkspaceError` if there is no such ref, and :class:`ParamError` if a key is
    unknown or a value is refused.
    """
    commit = find_commit(repository.resolve(), ref)
    committed = parse_yaml(_git(repository, "show", f"{commit}:{PARAMS_FILE}"))
    apply_overrides(committed, overrides)


def count_uncommitted(repository: Path) -> int:
    """How many tracked files of the repository differ from its commit: they're left out."""
    changes = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", *_NOT_LOCK)
    return len(changes.splitlines())


def set_params(path: Path, repository: Path, overrides: Mapping[str, Any]) -> None:
    """Write the overrides into a params file; a relative ``download.path`` means the repository's.

    Raises :class:`ParamError` if a key is unknown or a value is refused.
    """
    committed = load_yaml(path)
    tree = apply_overrides(committed, overrides)
    pairs = tree["download"]["path"]
    if pairs and not Path(pairs).expanduser().is_absolute():
        tree["download"]["path"] = str(repository / pairs)
    if tree != committed:
        write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _require_unedited(folder: Path) -> None:
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no").splitlines()
    has_checkout = (folder / "params.yaml").exists()
    edited = [line[2:].strip() for line in changes if line[2:].strip() not in REWRITTEN]
    if edited and has_checkout:
        raise WorkspaceError(
            f"{folder}: someone edited {', '.join(edited[:3])} in the retrainings' clone; keep the"
            f" edits elsewhere, then `git -C {folder} checkout .`"
        )


def _branch_at(repository: Path, ref: str, commit: str) -> str | None:
    """The branch that a ref names, as ``HEAD`` does; None for a tag, a commit, a detached HEAD."""
    full_name = _git(repository, "rev-parse", "--symbolic-full-name", ref)
    name = full_name.removeprefix("refs/heads/")
    return name if name != full_name else None


def _share_cache(folder: Path, repository: Path) -> None:
    """Point the clone's DVC at the repository's cache, with its local settings (remotes).

    Relative paths in these are rewritten for the clone's folder.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with closing(Repo(str(repository))) as repo:
            cache = repo.cache.local_cache_dir
            local = repo.config.read("local")
        dvc_folder = folder / ".dvc"
        # an earlier run's, which may not be readable
        (dvc_folder / "config.local").unlink(missing_ok=True)
        with Config(str(dvc_folder), validate=False).edit("local", validate=False) as settings:
            settings.update(local)
            settings["cache"]["dir"] = cache
    except DvcException as error:
        raise WorkspaceError(f"{repository}: {' '.join(str(error).split())}") from None


_NOT_LOCK = (".", ":!dvc.lock")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WorkspaceError(f"{folder}: git {arguments[0]} failed ({reason})") from None
    except OSError as error:
        raise WorkspaceError(f"git can't be run ({error.strerror}); install it") from None
    return done.stdout.strip()
