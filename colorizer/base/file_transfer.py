"""Files to and from an MLflow server over HTTP: a time-out by size, sent once if it's only slow.

MLflow's own has one time-out for all requests, and sends a file again after each that was exceeded
and after each error of the server.
"""

import logging
import posixpath
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from mlflow.entities.multipart_upload import MultipartUploadPart
from mlflow.environment_variables import (
    MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_S3_IGNORE_TLS,
)
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.utils.file_utils import read_chunk
from mlflow.utils.mime_type_utils import _guess_mime_type
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import http_request

from colorizer.base.bucket_transfer import BucketError
from colorizer.base.errors import ObjectStoreUnreachableError
from colorizer.base.server_answers import find_answer, is_connection_lost, is_too_slow

BASE_TIMEOUT_S = 60.0
"""How long a server may take to answer a transfer of no bytes."""
MIN_BYTES_PER_S = 1_000_000
"""The slowest server that is waited for: it stores, or finds, 1 MB (10⁶ bytes) per second."""
CONNECT_TIMEOUT_S = 15.0
MAX_TRIES = 3
RETRY_S = 1.0
_NOT_ACCEPTED = (425, 429, 503)
"""Statuses by which a server says that it has stored nothing."""


def transfer_timeout_s(num_bytes: int) -> float:
    """How long a server may take to answer a transfer of this size."""
    by_size_s = BASE_TIMEOUT_S + num_bytes / MIN_BYTES_PER_S
    return max(by_size_s, float(MLFLOW_HTTP_REQUEST_TIMEOUT.get()))


def use_timeouts_by_size() -> None:
    """Have MLflow's client in this process send and get files over HTTP by these rules."""
    registry = artifact_repository_registry._artifact_repository_registry
    for scheme in ("http", "https"):
        registry.register(scheme, HttpTransfer)
    registry.register("mlflow-artifacts", MlflowTransfer)
    # it logs what it also raises
    logging.getLogger("mlflow.store.artifact.http_artifact_repo").setLevel(logging.ERROR)


class _SizedTransfer:
    """What both of MLflow's classes do otherwise here."""

    artifact_uri: str
    _host_creds: Any
    _sizes: dict[str, int]
    _lost_part: BucketError | None = None

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Send a file."""
        if self._should_multipart_upload(local_file):  # type: ignore[attr-defined]
            try:
                super().log_artifact(local_file, artifact_path)  # type: ignore[misc]
            except MlflowException:
                if self._lost_part is None:
                    raise
                raise self._lost_part from None
            return
        file_path = Path(local_file)

        def send() -> None:
            with file_path.open("rb") as file:
                self._request(
                    "PUT",
                    posixpath.join(artifact_path or "", file_path.name),
                    file_path.stat().st_size,
                    data=file,
                    extra_headers={"Content-Type": _guess_mime_type(file_path.name)},
                )

        _repeat_if_not_accepted(send)

    def _upload_part(
        self, credential: Any, local_file: str, size: int, start_byte: int
    ) -> MultipartUploadPart:
        """Send a part to the address in the store that the server gave; MLflow's waits for ever."""
        data = read_chunk(Path(local_file), size, start_byte)
        try:
            response = requests.put(
                credential.url,
                data=data,
                headers=credential.headers,
                verify=not MLFLOW_S3_IGNORE_TLS.get(),
                timeout=(CONNECT_TIMEOUT_S, transfer_timeout_s(len(data))),
            )
            augmented_raise_for_status(response)
        except requests.RequestException as error:
            self._lost_part = BucketError(_part_lost(local_file, credential.url, error))
            raise self._lost_part from None
        etag = response.headers.get("ETag", "")
        return MultipartUploadPart(credential.part_number, etag, credential.url)

    def list_artifacts(self, path: str | None = None) -> Any:
        """List a folder; the sizes are kept for the download that follows."""
        files = super().list_artifacts(path)  # type: ignore[misc]
        sizes = {file.path: file.file_size or 0 for file in files}
        self._sizes = getattr(self, "_sizes", {}) | sizes
        return files

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        # MLflow also asks the store that the server names, which this machine may not reach
        if MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD.get():
            super()._download_file(remote_file_path, local_path)  # type: ignore[misc]
            return
        num_bytes = getattr(self, "_sizes", {}).get(remote_file_path, 0)

        def receive() -> None:
            response = self._request("GET", remote_file_path, num_bytes, stream=True)
            with response, Path(local_path).open("wb") as file:
                for block in response.iter_content(1 << 20):
                    file.write(block)

        _repeat_if_not_accepted(receive)

    def _request(self, method: str, path: str, num_bytes: int, **options: Any) -> Any:
        response = http_request(
            self._host_creds,
            posixpath.join("/", path),
            method,
            timeout=(CONNECT_TIMEOUT_S, transfer_timeout_s(num_bytes)),
            max_retries=0,
            retry_codes=frozenset(),
            **options,
        )
        augmented_raise_for_status(response)
        return response


class HttpTransfer(_SizedTransfer, HttpArtifactRepository):
    """For an artifact store that is given by its own address."""


class MlflowTransfer(_SizedTransfer, MlflowArtifactsRepository):
    """For files that the MLflow server itself stores."""


def _part_lost(
    local_file: str, address: str, error: requests.RequestException
) -> ObjectStoreUnreachableError:
    answer, parts = find_answer(error), urlsplit(address)
    what = f"answered {answer.status}" if answer else "doesn't answer"
    return ObjectStoreUnreachableError(
        f"{parts.scheme}://{parts.netloc}, where the MLflow server has {Path(local_file).name} sent"
        f" in parts, {what}; start it or have this machine reach it, or send files through the"
        " server (MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=false)"
    )


def _repeat_if_not_accepted(transfer: Callable[[], None]) -> None:
    """Repeat a transfer that the server can't have accepted, ``MAX_TRIES`` in all."""
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            transfer()
            return
        except (MlflowException, requests.RequestException) as error:
            if not tries_left or not _is_not_accepted(error):
                raise
        time.sleep(RETRY_S)


def _is_not_accepted(error: Exception) -> bool:
    answer = find_answer(error)
    if answer is not None:
        return answer.status in _NOT_ACCEPTED
    return is_connection_lost(error) and not is_too_slow(error)
