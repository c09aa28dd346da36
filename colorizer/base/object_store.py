"""Files in an S3 object store, by their address ``s3://bucket/key``.

Needs boto3, which is imported only here: ``pip install 'image-colorizer[s3]'``. The store and the
credentials are those of boto3's usual configuration: ``AWS_ENDPOINT_URL`` (or
``AWS_ENDPOINT_URL_S3``; without it Amazon's), ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``,
``AWS_PROFILE``, ``AWS_DEFAULT_REGION``, ``~/.aws``, a machine's role.

A file is stored, and fetched, whole or not at all. What can't work is known within seconds: no
answer, no such bucket, a wrong key, a wrong clock. Every function raises :class:`ObjectStoreError`,
and :class:`ObjectStoreUnreachableError` where a retry may succeed. May be called by several threads
and after a fork.
"""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from colorizer.base.addresses import without_credentials
from colorizer.base.errors import ObjectStoreError, ObjectStoreUnreachableError
from colorizer.base.files import atomic_path

SCHEME = "s3://"
CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 20
"""How long the store may send nothing, in the middle of a file as well."""
PREFLIGHT_READ_TIMEOUT_S = 5
MAX_TRIES = 3
LISTED_AT_ONCE = 1000
"""Files in one answer; S3 sends no more."""
PART_BYTES = 16 << 20
"""Larger files go in parts of this size, several at a time. S3 allows 10,000 parts: 167 GB."""
MAX_PARTS_AT_ONCE = 4
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SETTINGS = ("AWS_", "BOTO_")
_QUICK = {
    "AWS_DEFAULTS_MODE": "cross-region",  # its name for: 3.1 s for a connection, few retries
    "AWS_MAX_ATTEMPTS": str(MAX_TRIES),
}
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_ADVICE = {
    "NoSuchBucket": "there is no such bucket; create it, or correct the address",
    "InvalidAccessKeyId": f"the access key is unknown; check {_CREDENTIALS}",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "RequestTimeTooSkewed": "this machine's clock, or the store's, is wrong; set it (NTP)",
    "ExpiredToken": "the credentials have expired; get new ones",
    "InvalidToken": "AWS_SESSION_TOKEN isn't valid; unset it, or get a new one",
    "AccessDenied": "the credentials don't allow this; have them allowed to list, read, write and"
    f" delete in the bucket, or use others ({_CREDENTIALS})",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "NotImplemented": "the store doesn't know this request; set"
    " AWS_REQUEST_CHECKSUM_CALCULATION=when_required, or update the store",
}
_SAME_AS = {
    "403": "AccessDenied",
    "AllAccessDisabled": "AccessDenied",
    "301": "PermanentRedirect",
    "RequestExpired": "RequestTimeTooSkewed",
    "TokenRefreshRequired": "ExpiredToken",
}
_SILENCE = {
    "EndpointConnectionError": "no connection",
    "ConnectTimeoutError": f"no connection within {CONNECT_TIMEOUT_S} s",
    "ReadTimeoutError": "it accepts connections, but sends nothing",
    "ConnectionClosedError": "it hangs up",
}
"""By the names of botocore's exceptions."""
_GONE = ("NoSuchKey", "404", "NotFound")
_PASSING = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling")


class Address(NamedTuple):
    """A bucket and a key in it; the key may be empty, or end in a slash, where it is a prefix."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


class StoredFile(NamedTuple):
    """A file in the store."""

    address: str
    num_bytes: int
    etag: str
    """Changes with the content. It's no checksum that can be computed from a file."""


def is_address(text: str) -> bool:
    """Whether a text stands for a place in an object store, well-formed or not."""
    return text.lower().startswith("s3:")


def parse_address(text: str, *, needs_key: bool = False) -> Address:
    """Split ``s3://bucket/key``. Raises :class:`ObjectStoreError` for anything else."""
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
        raise ObjectStoreError(
            f"{without_credentials(text)}: must be s3://bucket/key, with a bucket of 3 to 63 small"
            " letters, digits, dots and hyphens"
        )
    if needs_key and (not key or key.endswith("/")):
        raise ObjectStoreError(f"{text}: names no file; must be s3://bucket/key")
    return Address(bucket, key)


def join(prefix: str, name: str) -> str:
    """The address of ``name`` below a prefix, with one slash between them."""
    return f"{prefix.rstrip('/')}/{name}"


def require_bucket(address: str, *, endpoint: str | None = None) -> None:
    """Check with one request, of 8 s at most, that the bucket can be used with these credentials.

    To be called before long work whose results go there.
    """
    bucket, _ = parse_address(address)
    with plain_errors(address):
        client = _make_client(os.getpid(), _settings(), endpoint, is_preflight=True)
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)


def fail_quickly() -> None:
    """Have other libraries' clients in this process give up in seconds, unless the user set it.

    By default boto3 and aiobotocore wait for a store that doesn't answer for five minutes.
    """
    for name, value in _QUICK.items():
        os.environ.setdefault(name, value)


def list_files(prefix: str) -> Iterator[StoredFile]:
    """Yield the files whose address begins with ``prefix``, in the order of their keys' bytes.

    ``s3://bucket/a`` finds ``a/1`` and ``ab/2`` too; end it with a slash to mean a folder. Empty
    files that stand for folders are left out.
    """
    bucket, key = parse_address(prefix)
    with plain_errors(prefix):
        pages = _client().get_paginator("list_objects_v2")
        size = {"PageSize": LISTED_AT_ONCE}
        for page in pages.paginate(Bucket=bucket, Prefix=key, PaginationConfig=size):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):
                    address = str(Address(bucket, found["Key"]))
                    yield StoredFile(address, int(found["Size"]), found["ETag"].strip('"'))


def find_file(address: str) -> StoredFile | None:
    """A file's size and entity tag; None if there is no such file."""
    bucket, key = parse_address(address, needs_key=True)
    with plain_errors(address):
        from botocore.exceptions import ClientError

        client = _client()
        try:
            found = client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            # its answer has no text: the same credentials are told the reason when they list
            client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
            if _code(error) in _GONE:
                return None
            raise
    return StoredFile(address, int(found["ContentLength"]), found["ETag"].strip('"'))


def exists(address: str) -> bool:
    """Whether there is a file at this address."""
    return find_file(address) is not None


def download(address: str, target: Path) -> None:
    """Fetch a file, whole or not at all; missing folders are made. ``target`` is replaced.

    Raises :class:`ObjectStoreError` also if the file is missing or other than its size.
    """
    found = find_file(address)
    if found is None:
        raise ObjectStoreError(f"{address}: there is no such file")
    bucket, key = parse_address(address)
    with atomic_path(target) as partial:
        with plain_errors(address):
            _client().download_file(bucket, key, str(partial), Config=_transfer())
        if (num_bytes := partial.stat().st_size) != found.num_bytes:
            raise ObjectStoreUnreachableError(
                f"{address}: {num_bytes} bytes arrived of {found.num_bytes}; try again"
            )


def upload(source: Path, address: str) -> None:
    """Store a file, whole or not at all; one at this address is replaced. Raises :class:`OSError`.

    A large file goes in parts. If this process is killed meanwhile, parts may stay in the store,
    which no listing shows: a lifecycle rule of the bucket (``AbortIncompleteMultipartUpload``)
    removes them.
    """
    bucket, key = parse_address(address, needs_key=True)
    with plain_errors(address):
        _client().upload_file(str(source), bucket, key, Config=_transfer())


def read_bytes(address: str, *, start: int = 0, num_bytes: int | None = None) -> bytes:
    """A file's content, or ``num_bytes`` of it from ``start`` on (fewer where it ends before).

    Raises :class:`ObjectStoreError` also if there is no such file.
    """
    bucket, key = parse_address(address, needs_key=True)
    part = {}
    if start or num_bytes is not None:
        end = "" if num_bytes is None else start + num_bytes - 1
        part = {"Range": f"bytes={start}-{end}"}
    with plain_errors(address):
        response = _client().get_object(Bucket=bucket, Key=key, **part)
        with response["Body"] as body:
            return bytes(body.read())


def write_bytes(address: str, data: bytes) -> None:
    """Store a small file, whole or not at all; one at this address is replaced."""
    bucket, key = parse_address(address, needs_key=True)
    with plain_errors(address):
        _client().put_object(Bucket=bucket, Key=key, Body=data)


def delete(address: str) -> None:
    """Delete a file; nothing happens if there is none."""
    bucket, key = parse_address(address, needs_key=True)
    with plain_errors(address):
        _client().delete_object(Bucket=bucket, Key=key)


def _client() -> Any:
    return _make_client(os.getpid(), _settings())


def _settings() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SETTINGS)))


@functools.lru_cache(maxsize=4)
def _make_client(
    pid: int,
    settings: tuple[tuple[str, str], ...],
    endpoint: str | None = None,
    *,
    is_preflight: bool = False,
) -> Any:
    """A client for this process and these settings, which are boto3's own to read."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=PREFLIGHT_READ_TIMEOUT_S if is_preflight else READ_TIMEOUT_S,
            retries={"total_max_attempts": 1 if is_preflight else MAX_TRIES, "mode": "standard"},
        ),
    )


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=MAX_PARTS_AT_ONCE,
    )


@contextmanager
def plain_errors(address: str) -> Iterator[None]:
    """Turn boto3's exceptions into one line each, without secrets."""
    try:
        import boto3.exceptions
        import botocore.exceptions as known
    except ModuleNotFoundError:
        raise ObjectStoreError(
            f"{address}: needs boto3: pip install 'image-colorizer[s3]'"
        ) from None
    try:
        yield
    except (known.BotoCoreError, known.ClientError, boto3.exceptions.Boto3Error) as error:
        raise plain_error(address, error) from None
    except ValueError as error:  # boto3's for an endpoint that is no address
        if "endpoint" not in str(error):
            raise
        reason = without_credentials(str(error))
        raise ObjectStoreError(f"{address}: {reason}; correct AWS_ENDPOINT_URL") from None


def plain_error(address: str, error: BaseException) -> ObjectStoreError:
    """The error to raise for one of boto3's."""
    import botocore.exceptions as known

    cause: BaseException = error
    # boto3 wraps a failed upload's
    while not isinstance(cause, known.ClientError) and isinstance(cause.__context__, Exception):
        cause = cause.__context__
    if isinstance(cause, known.ClientError):
        return _rejected(address, cause)
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
        return ObjectStoreError(f"{address}: no credentials; set {_CREDENTIALS}")
    reason = without_credentials((str(error).splitlines() or [type(error).__name__])[0])
    if isinstance(error, known.HTTPClientError | known.ConnectionError):
        endpoint = urlsplit(without_credentials(str(error.kwargs.get("endpoint_url", ""))))
        where = f"{endpoint.scheme}://{endpoint.netloc}" if endpoint.netloc else "the store"
        why = _SILENCE.get(type(error).__name__, reason)
        return ObjectStoreUnreachableError(
            f"{address}: no answer from {where} ({why}); start it, or correct AWS_ENDPOINT_URL"
        )
    if isinstance(error, known.IncompleteReadError):
        return ObjectStoreUnreachableError(f"{address}: the file was cut off; try again")
    return ObjectStoreError(f"{address}: {reason}")


def _rejected(address: str, error: Any) -> ObjectStoreError:
    code = _code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchKey":
        return ObjectStoreError(f"{address}: there is no such file")
    if code in _GONE:  # without S3's reason
        return ObjectStoreError(
            f"{address}: what answers there is no S3 server; correct AWS_ENDPOINT_URL"
        )
    if advice := _ADVICE.get(_SAME_AS.get(code, code)):
        return ObjectStoreError(f"{address}: {advice}")
    reason = without_credentials(str(error.response.get("Error", {}).get("Message", "")))
    text = f"{address}: the store answered {code} {' '.join(reason.split())[:200]}".rstrip()
    if status >= 500 or code in _PASSING:
        return ObjectStoreUnreachableError(f"{text}; try again later")
    return ObjectStoreError(text)


def _code(error: Any) -> str:
    """S3's error code; a status where the answer had no text."""
    return str(error.response.get("Error", {}).get("Code", ""))
