"""Files between MLflow's client and a bucket that it has access to by itself: errors of one line.

MLflow's own class raises boto3's exceptions as they are, or their text among others', and waits for
minutes for a store that doesn't answer.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from colorizer.base import object_store
from colorizer.base.errors import ObjectStoreError


class BucketError(MlflowException):
    """What a store, not MLflow, answered; ``reason`` is the line to show."""

    def __init__(self, reason: ObjectStoreError) -> None:
        super().__init__(
            str(reason),
            error_code=TEMPORARILY_UNAVAILABLE if reason.may_pass else PERMISSION_DENIED,
        )
        self.reason = reason


def find_bucket_error(error: BaseException) -> ObjectStoreError | None:
    """The reason of a :class:`BucketError` among an exception's causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BucketError):
            return cause.reason
        cause = cause.__cause__ or cause.__context__
    return None


def use_plain_bucket_errors() -> None:
    """Have MLflow's client in this process use buckets by these rules."""
    object_store.fail_quickly()
    registry = artifact_repository_registry._artifact_repository_registry
    registry.register("s3", BucketTransfer)


def require_bucket(location: str) -> None:
    """Check within seconds that MLflow's client can use a bucket. Raises :class:`BucketError`."""
    with _bucket_errors(location):
        object_store.require_bucket(location, endpoint=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))


class BucketTransfer(S3ArtifactRepository):
    """MLflow's class, whose operations raise :class:`BucketError`."""

    artifact_uri: str
    _failure: BucketError | None = None

    def log_artifact(self, *arguments: Any, **options: Any) -> None:
        """Send a file."""
        with _bucket_errors(self.artifact_uri):
            super().log_artifact(*arguments, **options)  # type: ignore[no-untyped-call]

    def log_artifacts(self, *arguments: Any, **options: Any) -> None:
        """Send a folder."""
        with _bucket_errors(self.artifact_uri):
            super().log_artifacts(*arguments, **options)  # type: ignore[no-untyped-call]

    def list_artifacts(self, *arguments: Any, **options: Any) -> Any:
        """List a folder."""
        with _bucket_errors(self.artifact_uri):
            return super().list_artifacts(*arguments, **options)  # type: ignore[no-untyped-call]

    def delete_artifacts(self, *arguments: Any, **options: Any) -> None:
        """Delete a file or a folder."""
        with _bucket_errors(self.artifact_uri):
            super().delete_artifacts(*arguments, **options)  # type: ignore[no-untyped-call]

    def download_artifacts(self, *arguments: Any, **options: Any) -> Any:
        """Fetch files; MLflow's error for several keeps no cause."""
        try:
            return super().download_artifacts(*arguments, **options)  # type: ignore[no-untyped-call]
        except MlflowException:
            if self._failure is None:
                raise
            raise self._failure from None

    def _download_file(self, *arguments: Any, **options: Any) -> None:
        try:
            with _bucket_errors(self.artifact_uri):
                super()._download_file(*arguments, **options)  # type: ignore[no-untyped-call]
        except BucketError as error:
            self._failure = error
            raise


@contextmanager
def _bucket_errors(location: str) -> Iterator[None]:
    try:
        with object_store.plain_errors(location):
            yield
    except ObjectStoreError as error:
        raise BucketError(error) from None
    except MlflowException as error:  # MLflow's for a listing, raised while handling boto3's
        cause = error.__context__
        if cause is None or not type(cause).__module__.startswith("botocore"):
            raise
        raise BucketError(object_store.plain_error(location, cause)) from None
