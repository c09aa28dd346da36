"""A Kaggle dataset's archive, downloaded with Kaggle's own client and checked by us.

Reads: Kaggle. Writes, in the work folder, for each version downloaded:

    <owner>.<name>.v<version>.zip     the archive as it came (or .tar, .tar.gz, …), never unpacked
    <owner>.<name>.v<version>.json    its size and SHA-256: what makes it known as verified
    <owner>.<name>.v<version>.part    a download under way, with its promise in .part.json

The client signs in, names the version and follows Kaggle to the storage. Its own way of saving
what comes is not used: on a resume it appends whatever the server answers, an error page
included, it trusts any file that has the right size, it waits for ever on a silent server, and
it unpacks the archive.
"""

import base64
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import google_crc32c
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from pipeline_steps.atomic import sync, write_json
from pipeline_steps.errors import SourceError
from pipeline_steps.sources.archive_check import READ_BYTES, DamageError, check_archive

NUM_TRIES = 5
MAX_WAIT_S = 120.0
"""The longest pause between two tries, asked for by Kaggle or ours."""

CONNECT_TIMEOUT_S = 10.0
# What a cut loses at most: a chunk is written when it is whole.
NETWORK_CHUNK_BYTES = 256 * 1024
# Room left for the rest of the machine when the archive has come.
SPARE_BYTES = 64 * 1024 * 1024

CREATE_TOKEN = "create a token at kaggle.com/settings and save it as ~/.kaggle/kaggle.json"

_SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_HANDLE = re.compile(rf"({_SLUG})/({_SLUG})(?:/versions/([1-9][0-9]{{0,8}}))?")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class KaggleDownload:
    """A verified archive on disk."""

    archive: Path
    """The zip or tar file as Kaggle served it."""
    handle: str
    """``owner/name``, without the version."""
    version: int
    bytes: int
    sha256: str
    """Of the archive, in hexadecimal."""


def download_kaggle(
    handle: str, work_folder: Path, *, retry_delay_s: float = 2.0, timeout_s: float = 60.0
) -> KaggleDownload:
    """Have the archive of a Kaggle dataset in ``work_folder``, verified.

    ``handle`` is ``owner/name`` for the current version, or ``owner/name/versions/3``. A version
    that lies there already and still has its SHA-256 isn't downloaded again; a broken download
    goes on from where it stopped. Credentials come from kagglehub's usual places. What can pass
    by itself is tried ``NUM_TRIES`` times, ``retry_delay_s`` after the first failure, then twice
    as long each time, or when Kaggle says; ``timeout_s`` of silence counts as a failure. Earlier
    versions in the folder are left alone.

    Raises:
        SourceError: the handle is no handle, Kaggle refuses or can't be reached, the disk is too
            small, or the archive came damaged (it's then removed, so the next run starts anew).
    """
    dataset = _parse_handle(handle)
    version = dataset.version or _with_retries(
        lambda: _ask_current_version(dataset, timeout_s), retry_delay_s
    )
    dataset = dataset._replace(version=version)
    shelf = _Shelf(work_folder, dataset, version)
    if known := shelf.find_verified():
        return known
    partial = _Partial(shelf.path(".part"))
    work_folder.mkdir(parents=True, exist_ok=True)
    _with_retries(lambda: _download_rest(dataset, partial, timeout_s), retry_delay_s)
    return _accept(shelf, partial)


class _Dataset(NamedTuple):
    """A handle, taken apart."""

    owner: str
    name: str
    version: int | None

    @property
    def handle(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/datasets/{self.handle}"

    def __str__(self) -> str:
        return f"{self.handle} version {self.version}" if self.version else self.handle


def _parse_handle(handle: str) -> _Dataset:
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise SourceError(
            f"{handle!r} is no Kaggle dataset: write it as owner/name or owner/name/versions/3"
        )
    owner, name, version = match.groups()
    return _Dataset(owner, name, int(version) if version else None)


# --- what lies in the work folder --------------------------------------------------------------


class _Shelf:
    """The files of one version of a dataset in the work folder."""

    def __init__(self, folder: Path, dataset: _Dataset, version: int) -> None:
        self.folder = folder
        self.dataset = dataset
        self.version = version

    def path(self, suffix: str) -> Path:
        # A dot is in no owner's and no dataset's name.
        return self.folder / f"{self.dataset.owner}.{self.dataset.name}.v{self.version}{suffix}"

    def find_verified(self) -> KaggleDownload | None:
        """Return the archive if it's still the one recorded; remove one that has changed."""
        known = self._read_record()
        if known is None or not known.archive.is_file():
            return None
        if known.archive.stat().st_size == known.bytes:
            with known.archive.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == known.sha256:
                    return known
        _tell(f"{known.archive} has changed since it was verified: downloading it again")
        known.archive.unlink()
        return None

    def keep(self, download: KaggleDownload, verified: Path) -> None:
        """Give a verified file its final name.

        The record is written first: without its archive it says nothing, and an archive without
        its record would be downloaded twice.
        """
        record = asdict(download) | {"archive": download.archive.name}
        write_json(self.path(".json"), record)
        sync(verified)
        verified.replace(download.archive)
        sync(self.folder)

    def _read_record(self) -> KaggleDownload | None:
        record = _read_json(self.path(".json"))
        try:
            archive = self.folder / Path(record["archive"]).name
            return KaggleDownload(**record | {"archive": archive})
        except (KeyError, TypeError):
            return None


class _Promise(NamedTuple):
    """What the storage said of the whole archive when its download began."""

    bytes: int | None
    hashes: dict[str, str]
    """Base64 digests by name: ``md5``, ``crc32c``, both or none."""


class _Partial:
    """A download under way: the bytes that came, and the promise they are held to.

    The promise is kept in a file since the answer to a range may come without the hashes, and
    since bytes of two different files must never be joined.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.promise_path = path.with_name(path.name + ".json")

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def promise(self) -> _Promise | None:
        note = _read_json(self.promise_path)
        return (
            _Promise(note["bytes"], note["hashes"]) if note.keys() == {"bytes", "hashes"} else None
        )

    def begin(self, promise: _Promise) -> None:
        """Start from nothing, under a new promise."""
        self.drop()
        write_json(self.promise_path, promise._asdict())

    def append(self, response: requests.Response) -> None:
        """Write the body as it comes; without a promised size, where it ends is the size."""
        promise = self.promise or _Promise(None, {})
        with (
            self.path.open("ab") as file,
            _progress("downloading", promise.bytes, done=self.num_bytes) as bar,
        ):
            for chunk in response.iter_content(NETWORK_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
        if promise.bytes is None:
            write_json(self.promise_path, promise._replace(bytes=self.num_bytes)._asdict())

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.promise_path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a note of ours; one that is missing or unreadable says nothing."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


# --- Kaggle's client: all that is asked of kagglehub and kagglesdk -----------------------------


class _PatientAdapter(HTTPAdapter):
    """Adds to the client's requests what it has no setting for: a timeout, and a range.

    The client follows Kaggle's redirect to the storage by itself, so this is the only place where
    the range can be asked of the storage alone.
    """

    def __init__(self, timeout_s: float, first_byte: int) -> None:
        super().__init__()
        self.timeout_s = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self.first_byte = first_byte

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        if request.method == "GET":
            # Ranges and lengths are of the bytes as stored.
            request.headers["Accept-Encoding"] = "identity"
            if self.first_byte:
                request.headers["Range"] = f"bytes={self.first_byte}-"
        return super().send(request, *args, **kwargs | {"timeout": self.timeout_s})


@contextmanager
def _open_client(timeout_s: float, first_byte: int = 0) -> Iterator[Any]:
    """Yield the signed-in client of the datasets API.

    It is put together here, as ``kagglehub.clients.build_kaggle_client`` would, but never
    verbose: with ``KAGGLE_API_ENVIRONMENT=TEST`` that one prints the credentials and reads whole
    archives into memory.
    """
    from kagglehub.clients import get_user_agent
    from kagglehub.config import KaggleApiCredentials
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import get_env

    credentials = _find_credentials() or KaggleApiCredentials()
    with KaggleClient(
        env=get_env(),
        username=credentials.username,
        password=credentials.key,
        api_token=credentials.api_key,
        user_agent=get_user_agent(),
    ) as client:
        # Private, and the only handle on timeouts: made by __enter__, closed by __exit__.
        session = client.http_client()._session
        for scheme in ("https://", "http://"):
            session.mount(scheme, _PatientAdapter(timeout_s, first_byte))
        yield client.datasets.dataset_api_client


def _find_credentials() -> Any:
    """Look in kagglehub's usual places; what it says of a bad one may hold the secret itself."""
    from kagglehub.config import get_kaggle_credentials

    try:
        credentials = get_kaggle_credentials()
    except (OSError, ValueError) as error:
        raise SourceError(
            f"the Kaggle credentials can't be read ({type(error).__name__}): see KAGGLE_API_TOKEN"
            f" (a file's path, or a token short enough for one) and ~/.kaggle, or {CREATE_TOKEN}"
        ) from None
    if credentials and not all(map(_can_be_sent, vars(credentials).values())):
        raise SourceError(
            "the Kaggle credentials can't be sent, they hold a line break, or a letter that is not"
            f" ASCII: {CREATE_TOKEN}"
        )
    return credentials


def _can_be_sent(secret: str | None) -> bool:
    return secret is None or (secret.isascii() and secret.isprintable())


def _ask_current_version(dataset: _Dataset, timeout_s: float) -> int:
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
    with _plain_errors(dataset), _open_client(timeout_s) as client:
        version = client.get_dataset(request).current_version_number
    if not isinstance(version, int) or version < 1:
        raise SourceError(
            f"Kaggle names no current version of {dataset}: name one, {dataset}/versions/1"
        )
    return version


@contextmanager
def _open_archive(
    dataset: _Dataset, timeout_s: float, *, first_byte: int
) -> Iterator[requests.Response]:
    """Yield the storage's answer: the archive from ``first_byte`` on (206), or all of it (200)."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
    request.dataset_version_number = dataset.version
    with (
        _plain_errors(dataset),
        _open_client(timeout_s, first_byte) as client,
        closing(client.download_dataset(request)) as response,
    ):
        yield response


# --- what goes wrong on the way ----------------------------------------------------------------


class _PassingError(Exception):
    """A failure that may pass by itself."""

    def __init__(self, what: str, *, advice: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.advice = advice
        self.retry_after_s = retry_after_s


class _RangeError(_PassingError):
    """What has come can't be gone on from."""

    def __init__(self) -> None:
        super().__init__(
            "the archive changed while it was on its way, or the storage sent another part of it",
            advice="try again later",
        )


def _with_retries(step: Callable[[], T], retry_delay_s: float) -> T:
    for num_failures in range(1, NUM_TRIES + 1):
        try:
            return step()
        except _PassingError as error:
            wait_s = error.retry_after_s
            if wait_s is None:
                wait_s = min(retry_delay_s * 2 ** (num_failures - 1), MAX_WAIT_S)
            if wait_s > MAX_WAIT_S:
                raise SourceError(f"{error}: run again in {wait_s:.0f} s, not before") from None
            if num_failures == NUM_TRIES:
                raise SourceError(f"{error}, {NUM_TRIES} times over: {error.advice}") from None
            _tell(f"{error}: trying again in {wait_s:.0f} s")
            time.sleep(wait_s)
    raise AssertionError("the last failure is raised above")


@contextmanager
def _plain_errors(dataset: _Dataset) -> Iterator[None]:
    """Turn the client's errors into ours.

    Their own words are dropped, and their chain with them: they hold signed addresses, headers
    and whatever the server echoed.
    """
    try:
        yield
    except requests.HTTPError as error:
        raise _http_error(dataset, error.response) from None
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise _connection_error(error) from None
    except (requests.RequestException, json.JSONDecodeError) as error:
        raise SourceError(
            f"what answered for {dataset} is not Kaggle ({type(error).__name__}): check for a"
            " proxy or a login page on the way"
        ) from None


def _connection_error(error: requests.RequestException) -> _PassingError:
    url = str(error.request.url) if error.request is not None else ""
    what = "was cut" if isinstance(error, requests.exceptions.ChunkedEncodingError) else "failed"
    return _PassingError(
        f"the connection to {urlsplit(url).hostname or 'Kaggle'} {what} ({type(error).__name__})",
        advice="check the network and run the same command again, it goes on from what has come",
    )


def _http_error(
    dataset: _Dataset, response: requests.Response | None
) -> SourceError | _PassingError:
    assert response is not None, "the client raises HTTPError from a response"
    response.close()  # the client leaves a refused download open
    status = _status(response)
    # Of the request to Kaggle: the one that goes on to the storage is never signed in.
    signed_in = "Authorization" in [*response.history, response][0].request.headers
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
        what = "allows no more requests for now" if status < 500 else "has a failure of its own"
        return _PassingError(
            f"Kaggle {what} ({status})",
            advice="try again later",
            retry_after_s=_retry_after_s(response),
        )
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _RangeError()
    if status == HTTPStatus.UNAUTHORIZED:
        lack = "refused the credentials" if signed_in else "wants credentials and none were found"
        return SourceError(f"Kaggle {lack} (401) for {dataset}: {CREATE_TOKEN}")
    if status == HTTPStatus.FORBIDDEN:
        lack = "" if signed_in else f"; no credentials were found either: {CREATE_TOKEN}"
        return SourceError(
            f"Kaggle gives no access to {dataset} (403), or there is none: open {dataset.page}"
            f" while signed in, accept its terms, and run again{lack}"
        )
    if status == HTTPStatus.NOT_FOUND:
        return SourceError(f"Kaggle has no {dataset} (404): compare with {dataset.page}")
    return SourceError(f"Kaggle refused the request for {dataset} ({status}): see {dataset.page}")


def _status(response: requests.Response) -> int:
    """Read the status; Kaggle may also say it in the body of a 200."""
    if response.status_code >= 400:
        return response.status_code
    return int(response.json()["code"])


def _retry_after_s(response: requests.Response) -> float | None:
    """Read the Retry-After header, in either of its two forms."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


# --- the download ------------------------------------------------------------------------------


def _download_rest(dataset: _Dataset, partial: _Partial, timeout_s: float) -> None:
    """Try once to bring what is missing of the archive; drop what can't be gone on from."""
    try:
        _request_rest(dataset, partial, timeout_s)
    except _RangeError:
        partial.drop()
        raise


def _request_rest(dataset: _Dataset, partial: _Partial, timeout_s: float) -> None:
    promise = partial.promise
    if promise is None or promise.bytes is None or partial.num_bytes > promise.bytes:
        partial.drop()
    elif partial.num_bytes == promise.bytes:
        return
    with _open_archive(dataset, timeout_s, first_byte=partial.num_bytes) as response:
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            _check_it_goes_on(response, partial)
        else:
            partial.begin(_read_promise(response))
        _check_room(partial)
        partial.append(response)
    _check_length(partial)


def _read_promise(response: requests.Response) -> _Promise:
    length = response.headers.get("Content-Length", "")
    return _Promise(int(length) if length.isdecimal() else None, _read_hashes(response))


def _read_hashes(response: requests.Response) -> dict[str, str]:
    """Read ``x-goog-hash: crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    pairs = (part.partition("=") for part in response.headers.get("x-goog-hash", "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _check_it_goes_on(response: requests.Response, partial: _Partial) -> None:
    """Make sure that a 206 goes on where we stopped, in the same file."""
    promise = partial.promise
    came = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if promise and promise.bytes and came:
        wanted = (partial.num_bytes, promise.bytes - 1, promise.bytes)
        hashes = _read_hashes(response)
        same_hashes = all(
            hashes.get(name, value) == value for name, value in promise.hashes.items()
        )
        if tuple(map(int, came.groups())) == wanted and same_hashes:
            return
    raise _RangeError


def _check_room(partial: _Partial) -> None:
    promise = partial.promise
    if promise is None or promise.bytes is None:
        return
    missing_bytes = promise.bytes - partial.num_bytes
    free_bytes = shutil.disk_usage(partial.path.parent).free
    if missing_bytes + SPARE_BYTES > free_bytes:
        raise SourceError(
            f"the archive needs {missing_bytes / 1e9:.1f} GB more and {partial.path.parent} has"
            f" {free_bytes / 1e9:.1f} GB free: make room, or choose another folder"
        )


def _check_length(partial: _Partial) -> None:
    promise = partial.promise
    if promise is None or partial.num_bytes != promise.bytes:
        raise _PassingError(
            "the archive came with a wrong length",
            advice="run the same command again, it goes on from what has come",
        )


# --- the checks of what came -------------------------------------------------------------------


def _accept(shelf: _Shelf, partial: _Partial) -> KaggleDownload:
    """Verify what came and give it its final name; remove it if it's damaged."""
    dataset = shelf.dataset
    try:
        sha256 = _check_hashes(partial)
        suffix = check_archive(partial.path)
    except DamageError as damage:
        partial.drop()
        raise SourceError(
            f"the archive of {dataset} came damaged ({damage}) and was removed: run again to"
            " download it anew"
        ) from None
    download = KaggleDownload(
        archive=shelf.path(suffix),
        handle=dataset.handle,
        version=shelf.version,
        bytes=partial.num_bytes,
        sha256=sha256,
    )
    shelf.keep(download, partial.path)
    partial.drop()
    return download


def _check_hashes(partial: _Partial) -> str:
    """Compare the whole file with what the storage promised; return its SHA-256."""
    promised = partial.promise.hashes if partial.promise else {}
    sha256 = hashlib.sha256()
    hashers: dict[str, Any] = {
        "sha256": sha256,
        "md5": hashlib.md5(usedforsecurity=False),
        "crc32c": google_crc32c.Checksum(),
    }
    running = [hasher for name, hasher in hashers.items() if name in {"sha256", *promised}]
    with (
        partial.path.open("rb") as file,
        _progress("verifying", partial.num_bytes) as bar,
    ):
        while chunk := file.read(READ_BYTES):
            for hasher in running:
                hasher.update(chunk)
            bar.update(len(chunk))
    for name, value in promised.items():
        if name in hashers and base64.b64encode(hashers[name].digest()).decode() != value:
            raise DamageError(f"its {name} is not the storage's")
    return sha256.hexdigest()


# --- what people see ---------------------------------------------------------------------------


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _progress(what: str, total_bytes: int | None, *, done: int = 0) -> "tqdm[Any]":
    return tqdm(
        desc=what, total=total_bytes, initial=done, unit="B", unit_scale=True, unit_divisor=1024
    )
