"""Models from an MLflow registry: downloaded once, verified, and cached for offline use.

Needs MLflow or mlflow-skinny, which the runtime imports only here.
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from colorizer.base.addresses import without_credentials
from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256, write_text
from colorizer.base.moved_database import follow_folder
from colorizer.base.server_answers import Answer, find_answer
from colorizer.model.folder import CONFIG_FILE, ONNX_FILE, open_model_folder

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL_TAG = "model_sha256"
CONFIG_TAG = "config_sha256"
MAX_LISTED_VERSIONS = 10
# fail on a dead server in seconds, not minutes; send no telemetry
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


class FetchedModel(NamedTuple):
    """A version's exported folder in the cache."""

    folder: Path
    name: str
    version: int
    is_stale: bool
    """The registry was unreachable: this is the version that the address last resolved to."""


def fetch_model(uri: str, *, cache: Path | None = None) -> FetchedModel:
    """Download ``models:/name@alias`` or ``models:/name/7`` into the cache, unless it's there.

    If the registry is unreachable or has lost the files, returns the version fetched last, with a
    warning on stderr. Raises :class:`ModelFolderError` if there is no such version, its files
    aren't those that were registered, the registry rejected the request, or nothing was fetched
    before.
    """
    name, alias, number = parse_address(uri)
    cache = cache or cache_folder()
    _prepare_mlflow()
    record = cache / f"{hashlib.sha256(f'{_server()} {uri}'.encode()).hexdigest()[:16]}.json"
    try:
        version = _find_version(name, alias, number)
        folder = _download_to_cache(name, version, cache)
    except _UnreachableError as error:
        known = _read_record(record)
        if known is None:
            raise ModelFolderError(f"{uri}: {error} (none was fetched before)") from None
        print(
            f"warning: {uri}: {error}; using version {known.version}, fetched before",
            file=sys.stderr,
        )
        return known
    found = FetchedModel(folder, name, int(version.version), is_stale=False)
    facts = {"folder": str(folder), "name": name, "version": found.version}
    write_text(record, json.dumps(facts))
    return found


def cache_folder() -> Path:
    """``$COLORIZER_CACHE``, or the user's cache folder (XDG base directory specification)."""
    if own := os.environ.get("COLORIZER_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "image-colorizer"


def require_registered(what: str, folder: Path, tags: dict[str, str]) -> None:
    """Compare a version's model and config with the SHA-256 in its tags.

    Raises :class:`ModelFolderError` if they differ: someone changed the files in the artifact
    store. ``what`` names the version in the message.
    """
    for tag, file in ((MODEL_TAG, ONNX_FILE), (CONFIG_TAG, CONFIG_FILE)):
        found, registered = file_sha256(folder / file), tags.get(tag)
        if registered not in (None, found):
            raise ModelFolderError(
                f"{what}: its {file} ({found[:12]}) is not the one that was registered"
                f" ({registered[:12]}); someone changed the registry's artifact store"
            )


class FilesGoneError(ModelFolderError):
    """The registry has a version, but not its files anymore."""


def download_folder(name: str, number: int, folder: Path) -> None:
    """Download a version's files into ``folder``, as exported.

    Raises what MLflow raises, and :class:`FilesGoneError` if the artifact store has none of them.
    """
    import mlflow

    # with dst_path MLflow copies; without, a local store returns its own folder
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        uri = f"models:/{name}/{number}"
        stored = Path(mlflow.artifacts.download_artifacts(uri, dst_path=temporary))
        if not (stored / "model.onnx").is_file() or not (stored / "extra_files").is_dir():
            raise _files_gone(name, number)
        (stored / "model.onnx").replace(folder / ONNX_FILE)
        for file in (stored / "extra_files").iterdir():
            file.replace(folder / file.name)


class _UnreachableError(Exception):
    """No answer from the registry, or it can't give the version's files."""


def parse_address(uri: str) -> tuple[str, str | None, str | None]:
    """An address's name, and its alias or number. Raises :class:`ModelFolderError` for another."""
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if at and name and alias:
        return name, alias, None
    name, slash, number = uri.removeprefix("models:/").rpartition("/")
    if slash and name and number.isdecimal():
        return name, None, number
    raise ModelFolderError(f"{uri}: must be models:/NAME@ALIAS or models:/NAME/NUMBER")


def _prepare_mlflow() -> None:
    """Import MLflow. Raises :class:`ModelFolderError` if it isn't installed or has no registry."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        import mlflow
    except ModuleNotFoundError:
        raise ModelFolderError(
            "models:/… needs MLflow: pip install 'image-colorizer[registry]', or give the folder"
            " of an exported model"
        ) from None
    from colorizer.base.bucket_transfer import use_plain_bucket_errors

    # it says at level INFO that it found no files to download
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    use_plain_bucket_errors()
    scheme, _, path = mlflow.get_registry_uri().partition(":///")
    if scheme != "sqlite":
        from colorizer.base.file_transfer import use_timeouts_by_size

        use_timeouts_by_size()
        return
    if not Path(path).exists() and Path(unquote(path)).exists():
        # MLflow quotes the path of its default database, but SQLAlchemy doesn't unquote it
        path = unquote(path)
        mlflow.set_tracking_uri(f"sqlite:///{path}")
    if not Path(path).exists():  # MLflow would create an empty one
        raise ModelFolderError(
            f"no registry: {unquote(path)} doesn't exist; `make repro` creates one, or set"
            " MLFLOW_TRACKING_URI to a server"
        )
    if importlib.util.find_spec("sqlalchemy") is None:
        raise ModelFolderError(
            f"mlflow-skinny can't read {path}: pip install mlflow, or set"
            " MLFLOW_TRACKING_URI to a server"
        )
    follow_folder(Path(path))


def _find_version(name: str, alias: str | None, number: str | None) -> "ModelVersion":
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
            advice = (
                "`make repro` registers a candidate, `make promote` makes it champion, `make"
                " rollback` an earlier champion again"
            )
            if number and (numbers := _newest_versions(name)):
                advice = f"it has {', '.join(numbers)}"
            raise ModelFolderError(f"{name} has {wanted} at {_server()}: {advice}") from None
        raise _failed(f"{name} at {_server()}", error) from None


def _newest_versions(name: str) -> list[str]:
    """A model's newest versions' numbers, and … if it has more; none if they can't be listed."""
    from mlflow import MlflowClient

    try:
        found = MlflowClient().search_model_versions(
            f"name = '{name}'",
            max_results=MAX_LISTED_VERSIONS + 1,
            order_by=["version_number DESC"],
        )
    except Exception:  # the error that is reported is that there is no such version
        return []
    numbers = [str(version.version) for version in found]
    return [*numbers[:MAX_LISTED_VERSIONS], *("…" for _ in numbers[MAX_LISTED_VERSIONS:])]


def _download_to_cache(name: str, version: "ModelVersion", cache: Path) -> Path:
    what = f"{name} version {version.version}"
    tags = dict(version.tags)
    key = tags.get(MODEL_TAG, "") + tags.get(CONFIG_TAG, "") or f"{_server()} {what}"
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:32]
    if _is_valid(what, folder, tags):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as temporary:
        partial = Path(temporary) / "model"
        partial.mkdir()
        try:
            download_folder(name, int(version.version), partial)
        except Exception as error:
            raise _failed(what, error) from None
        open_model_folder(partial)
        require_registered(what, partial, tags)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.rename(folder)
        except OSError:  # another process created it meanwhile
            if not _is_valid(what, folder, tags):
                raise
    return folder


def _is_valid(what: str, folder: Path, tags: dict[str, str]) -> bool:
    try:
        open_model_folder(folder)
        require_registered(what, folder, tags)
    except ModelFolderError:
        return False
    return True


def _read_record(record: Path) -> FetchedModel | None:
    try:
        facts: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        folder = Path(facts["folder"])
        open_model_folder(folder)
        return FetchedModel(folder, str(facts["name"]), int(facts["version"]), is_stale=True)
    except (OSError, ValueError, KeyError, TypeError, ModelFolderError):
        return None


def _server() -> str:
    """The registry's address, without credentials."""
    import mlflow

    return without_credentials(mlflow.get_registry_uri())


def _files_gone(name: str, number: int) -> FilesGoneError:
    from mlflow import MlflowClient

    address = MlflowClient().get_model_version_download_uri(name, str(number))
    return FilesGoneError(
        f"{name} version {number}: its files are gone from {without_credentials(address)}; put them"
        " back from a backup, or run `make register` where its model is: it stores them again"
    )


def _failed(what: str, error: Exception) -> Exception:
    """The error to raise for one of MLflow's or the disk's, which says what really failed."""
    if isinstance(error, FilesGoneError):
        return _UnreachableError(str(error))
    from colorizer.base.bucket_transfer import find_bucket_error

    if bucket_error := find_bucket_error(error):
        kind = _UnreachableError if bucket_error.may_pass else ModelFolderError
        return kind(f"{what}: {bucket_error}")
    # the network's errors are OSErrors too, but name no file
    is_disk = isinstance(error, OSError) and error.filename is not None
    if is_disk or _server().startswith("sqlite:"):
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return _UnreachableError(f"{what}: {reason}")
    answer = find_answer(error)
    return _unreachable() if answer is None else _rejected(answer, error)


def _rejected(answer: Answer, error: Exception) -> Exception:
    """The error to raise where the registry said no, or can't now."""
    import mlflow

    if not answer.address:
        answer = answer._replace(address=f"the registry at {_server()}")
    what = f"{answer}; {answer.advice}"
    if answer.has_reason:
        reason = str(error).splitlines()[0].replace(mlflow.get_registry_uri(), _server())
        what = f"the registry at {_server()} answered: {reason}"
    return ModelFolderError(what) if answer.is_final else _UnreachableError(what)


def _unreachable() -> _UnreachableError:
    return _UnreachableError(f"no answer from the registry at {_server()} (MLFLOW_TRACKING_URI)")
