"""Models from an MLflow registry: fetched once, checked, and kept for when the registry is away.

Needs MLflow (or its small sibling, mlflow-skinny), which is imported only here.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from colorizer.base.addresses import without_credentials
from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256, write_text
from colorizer.model.folder import CONFIG_FILE, ONNX_FILE, open_model_folder

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL_TAG = "model_sha256"
CONFIG_TAG = "config_sha256"
# a dead server is noticed in seconds, not minutes, and nothing is sent to anyone else
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


class FetchedModel(NamedTuple):
    """A version's exported folder on this machine."""

    folder: Path
    name: str
    version: int
    is_stale: bool
    """The registry couldn't be asked: it's what the alias meant last time."""


def fetch_model(uri: str, *, cache: Path | None = None) -> FetchedModel:
    """Bring ``models:/name@alias`` or ``models:/name/7`` here, unless it's here already.

    When the registry doesn't answer, what it said last is taken, with a line on stderr. Raises
    :class:`ModelFolderError` if there is no such version, or it's not the one that was registered.
    """
    name, alias, number = _parse(uri)
    cache = cache or cache_folder()
    _prepare_mlflow()
    said = cache / f"{hashlib.sha256(f'{_server()} {uri}'.encode()).hexdigest()[:16]}.json"
    try:
        version = _find(name, alias, number)
        folder = _bring(name, version, cache)
    except _UnreachableError as error:
        known = _recall(said)
        if known is None:
            raise ModelFolderError(f"{uri}: {error}, and none was fetched before") from None
        print(
            f"warning: {uri}: {error}; going on with version {known.version}, fetched before",
            file=sys.stderr,
        )
        return known
    found = FetchedModel(folder, name, int(version.version), is_stale=False)
    record = {"folder": str(folder), "name": name, "version": found.version}
    write_text(said, json.dumps(record))
    return found


def cache_folder() -> Path:
    """``$COLORIZER_CACHE``, or the user's cache folder (XDG base directory specification)."""
    if own := os.environ.get("COLORIZER_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "image-colorizer"


def require_registered(what: str, folder: Path, tags: dict[str, str]) -> None:
    """Make sure that a version's model and config are those that its tags tell.

    Raises :class:`ModelFolderError` if someone changed them, checksums and all.
    """
    for tag, file in ((MODEL_TAG, ONNX_FILE), (CONFIG_TAG, CONFIG_FILE)):
        found, registered = file_sha256(folder / file), tags.get(tag)
        if registered not in (None, found):
            raise ModelFolderError(
                f"{what}: its {file} ({found[:12]}) is not the one that was registered"
                f" ({registered[:12]}); someone changed the registry's artifact store"
            )


def download_folder(name: str, number: int, folder: Path) -> None:
    """Lay out a version's files in ``folder`` as export wrote them. Raises what MLflow raises."""
    import mlflow

    # given a folder, it copies; else a local store would hand out its own
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        uri = f"models:/{name}/{number}"
        stored = Path(mlflow.artifacts.download_artifacts(uri, dst_path=temporary))
        (stored / "model.onnx").rename(folder / ONNX_FILE)
        for file in (stored / "extra_files").iterdir():
            file.rename(folder / file.name)


class _UnreachableError(Exception):
    pass


def _parse(uri: str) -> tuple[str, str | None, str | None]:
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if at and name and alias:
        return name, alias, None
    name, slash, number = uri.removeprefix("models:/").rpartition("/")
    if slash and name and number.isdecimal():
        return name, None, number
    raise ModelFolderError(f"{uri}: must be models:/NAME@ALIAS or models:/NAME/NUMBER")


def _prepare_mlflow() -> None:
    """Load MLflow. Raises :class:`ModelFolderError` if it isn't installed, or has no registry."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        import mlflow
    except ModuleNotFoundError:
        raise ModelFolderError(
            "models:/… needs MLflow: pip install 'image-colorizer[registry]', or give the folder"
            " of an exported model"
        ) from None
    scheme, _, path = mlflow.get_registry_uri().partition(":///")
    if scheme != "sqlite":
        return
    if not Path(path).exists():  # MLflow would make an empty one
        raise ModelFolderError(
            f"no registry: {path} isn't here; `make repro` makes one, or name a server in"
            " MLFLOW_TRACKING_URI"
        )
    if importlib.util.find_spec("sqlalchemy") is None:
        raise ModelFolderError(
            f"{path} can't be read by MLflow's small sibling: pip install mlflow, or set"
            " MLFLOW_TRACKING_URI to a server"
        )


def _find(name: str, alias: str | None, number: str | None) -> "ModelVersion":
    from mlflow import MlflowClient

    try:
        client = MlflowClient()
        if alias is not None:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, str(number))
    except Exception as error:
        if getattr(error, "error_code", "") in (
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        ):
            wanted = f"no alias {alias}" if alias else f"no version {number}"
            raise ModelFolderError(
                f"{name} has {wanted} at {_server()}: `make repro` registers a candidate,"
                " `make promote` makes it champion"
            ) from None
        raise _unreachable() from None


def _bring(name: str, version: "ModelVersion", cache: Path) -> Path:
    what = f"{name} version {version.version}"
    tags = dict(version.tags)
    key = tags.get(MODEL_TAG, "") + tags.get(CONFIG_TAG, "") or f"{_server()} {what}"
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:32]
    if _is_whole(what, folder, tags):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as temporary:
        staging = Path(temporary) / "model"
        staging.mkdir()
        try:
            download_folder(name, int(version.version), staging)
        except Exception:
            raise _unreachable() from None
        open_model_folder(staging)
        require_registered(what, staging, tags)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            staging.rename(folder)
        except OSError:  # another process was quicker
            if not _is_whole(what, folder, tags):
                raise
    return folder


def _is_whole(what: str, folder: Path, tags: dict[str, str]) -> bool:
    try:
        open_model_folder(folder)
        require_registered(what, folder, tags)
    except ModelFolderError:
        return False
    return True


def _recall(said: Path) -> FetchedModel | None:
    try:
        record: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
        folder = Path(record["folder"])
        open_model_folder(folder)
        return FetchedModel(folder, str(record["name"]), int(record["version"]), is_stale=True)
    except (OSError, ValueError, KeyError, TypeError, ModelFolderError):
        return None


def _server() -> str:
    """The registry's address without user name and password."""
    import mlflow

    return without_credentials(mlflow.get_registry_uri())


def _unreachable() -> _UnreachableError:
    return _UnreachableError(f"the registry at {_server()} doesn't answer (MLFLOW_TRACKING_URI)")
