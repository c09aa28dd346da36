"""``python -m pipeline_steps remote check|fetch|push``: DVC's default remote, as the flows use it.

check   can the bucket be used? known within seconds
fetch   into the cache, what ``dvc.lock`` and DVC's run cache name; what the remote lacks is made
        by the stages
push    what the cache has of ``dvc.lock``, and the run cache

As ``dvc fetch --run-cache`` and ``dvc push --run-cache``, with one line for what went wrong. Either
may be interrupted anywhere: files are stored whole or not at all, and the same command goes on.
"""

import argparse
import os
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from colorizer.base import object_store
from colorizer.base.addresses import without_credentials
from colorizer.base.redaction import add_secrets, is_secret_name
from pipeline_steps.base.errors import RemoteError, RemoteUnreachableError

if TYPE_CHECKING:
    from dvc.repo import Repo

_AS_BOTO3 = {
    "endpointurl": "AWS_ENDPOINT_URL",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "profile": "AWS_PROFILE",
    "region": "AWS_DEFAULT_REGION",
    "credentialpath": "AWS_SHARED_CREDENTIALS_FILE",
    "configpath": "AWS_CONFIG_FILE",
}
"""A setting of DVC's remote → the environment variable by which boto3 takes it."""


def main() -> None:
    """Run the command named in ``sys.argv``."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_steps remote",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("check", "fetch", "push"))
    action = parser.parse_args().action

    from dvc.repo import Repo

    with closing(Repo()) as repo:
        address = require_remote(repo)
        if action == "check":
            print(f"remote: {address} can be used")
        elif action == "fetch":
            fetch(repo, address)
        else:
            push(repo, address)


def require_remote(repo: "Repo") -> str:
    """The default remote's address. Raises :class:`RemoteError` if it can't be used now."""
    name = repo.config["core"].get("remote")
    remote: Mapping[str, str] = repo.config["remote"].get(name, {}) if name else {}
    if "url" not in remote:
        raise RemoteError(
            "DVC has no default remote: `dvc remote add --default store s3://bucket/dvc` sets one"
        )
    add_secrets(*(str(value) for key, value in remote.items() if is_secret_name(key)))
    address = str(remote["url"])
    if object_store.is_address(address):
        for setting, variable in _AS_BOTO3.items():
            if setting in remote:
                os.environ[variable] = str(remote[setting])
        object_store.fail_quickly()
        object_store.require_bucket(address)
    return without_credentials(address)


def fetch(repo: "Repo", address: str) -> None:
    """Bring the cache up to what the remote has. Raises :class:`RemoteError`."""
    from dvc.exceptions import DvcException

    try:
        num_files = repo.fetch(run_cache=True)
    except (DvcException, OSError) as error:
        raise _failed(repo, address, error) from None
    print(f"remote: fetched {num_files} files from {address}")


def push(repo: "Repo", address: str) -> None:
    """Bring the remote up to what the cache has. Raises :class:`RemoteError`."""
    from dvc.exceptions import DvcException

    try:
        num_files = repo.push(run_cache=True)
    except (DvcException, OSError) as error:
        raise _failed(repo, address, error) from None
    print(f"remote: pushed {num_files} files to {address}")


def _failed(repo: "Repo", address: str, error: Exception) -> RemoteError:
    require_remote(repo)  # which says more, if it's the store
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RemoteUnreachableError(f"{address}: {reason}; run the same command again")
