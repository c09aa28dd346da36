"""Versions of the registered model: found by number or alias, downloaded, verified and loaded."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.errors import ModelFolderError
from colorizer.base.server_answers import find_answer
from colorizer.model.folder import open_model_folder
from colorizer.model.registry import FilesGoneError, download_folder, require_registered
from colorizer.runtime import Colorizer
from flows.errors import PromotionError
from pipeline_steps.tracking import mlflow_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
PREVIOUS = "previous"


@dataclass(frozen=True)
class Version:
    """A version as the registry has it."""

    number: int
    run_id: str
    tags: dict[str, str]


def find_version(client: "MlflowClient", name: str, wanted: str | int) -> Version:
    """Find a version by its number or by an alias.

    Raises :class:`PromotionError` if there is none, whose message lists the versions and aliases.
    """
    from mlflow.exceptions import MlflowException

    try:
        if str(wanted).isdecimal():
            found = client.get_model_version(name, str(wanted))
        else:
            found = client.get_model_version_by_alias(name, str(wanted))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        kind = "version" if str(wanted).isdecimal() else "alias"
        raise PromotionError(
            f"{name} has no {kind} {wanted}; it has {_list_existing(client, name)}"
        ) from None
    return Version(int(found.version), found.run_id or "", dict(found.tags))


def find_aliases(client: "MlflowClient", name: str) -> dict[str, int]:
    """Alias → version number; {} when there is no such registered model."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: int(version) for alias, version in aliases.items()}


def find_creation_ms(client: "MlflowClient", name: str) -> int | None:
    """When the registered model was made, in ms since 1970 by the server's clock; None if none.

    A model that was deleted and registered anew has another: its versions are others, though their
    numbers begin at 1 again.
    """
    from mlflow.exceptions import MlflowException

    try:
        created_ms = client.get_registered_model(name).creation_timestamp
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return int(created_ms) if created_ms is not None else None


def version_exists(client: "MlflowClient", name: str, number: int) -> bool:
    """Whether the registered model has this version; deleted ones it has no more."""
    try:
        find_version(client, name, number)
    except PromotionError:
        return False
    return True


@contextmanager
def open_version(name: str, number: int) -> Iterator[Colorizer]:
    """Download a version's exported folder, verify every checksum, and load it.

    The checksums are stored with the files, so the model and its config must match the
    version's tags, too. Raises :class:`PromotionError` if a file is missing, damaged or another.
    """
    with tempfile.TemporaryDirectory(prefix="colorizer-version-") as temporary:
        folder = Path(temporary)
        fetch_folder(name, number, folder)
        try:
            model = open_model_folder(folder)
            tags = find_version(mlflow_server.connect(), name, number).tags
            require_registered(f"{name} version {number}", folder, tags)
            colorizer = Colorizer(model)
        except ModelFolderError as error:
            raise PromotionError(f"{name} version {number} can't be loaded: {error}") from None
        yield colorizer


def fetch_folder(name: str, number: int, folder: Path) -> None:
    """Download a version's files into ``folder``, laid out as export wrote them."""
    from mlflow.exceptions import MlflowException

    try:
        download_folder(name, number, folder)
    except FilesGoneError as error:
        raise PromotionError(str(error)) from None
    except (MlflowException, OSError) as error:
        if mlflow_server.is_passing(error):
            raise mlflow_server.plain_error(error) from None
        answer = find_answer(error)
        reason = answer if answer and answer.address else mlflow_server.one_line(error)
        raise PromotionError(
            f"{name} version {number}: its files can't be downloaded ({reason}); check the"
            " registry's artifact store"
        ) from None


def _list_existing(client: "MlflowClient", name: str) -> str:
    versions = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
    if not versions:
        return "no versions; `make repro` registers one"
    aliases = ", ".join(f"{k} → {v}" for k, v in sorted(find_aliases(client, name).items()))
    numbers = f"{versions[0]}" if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
    return f"versions {numbers}, aliases {aliases or 'none'}"
