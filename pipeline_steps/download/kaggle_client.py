"""The only use of kagglehub and kagglesdk; their errors become :class:`SourceError`."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from colorizer.base.redaction import add_secrets
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.resumable_download import CannotResumeError, TemporaryError

CONNECT_TIMEOUT_S = 10.0
CREATE_TOKEN = "create a token at kaggle.com/settings and save it as ~/.kaggle/kaggle.json"


class Dataset(NamedTuple):
    """A dataset on Kaggle, or one version of it."""

    owner: str
    name: str
    version: int | None

    @property
    def handle(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"

    @property
    def page(self) -> str:
        """Address of its web page."""
        return f"https://www.kaggle.com/datasets/{self.handle}"

    def __str__(self) -> str:
        return f"{self.handle} version {self.version}" if self.version else self.handle


def ask_current_version(dataset: Dataset, timeout_s: float) -> int:
    """Ask Kaggle for the number of the newest version."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
    with _translate_errors(dataset), _open_client(timeout_s) as client:
        return int(client.get_dataset(request).current_version_number)


@contextmanager
def open_archive(
    dataset: Dataset, first_byte: int, timeout_s: float
) -> Iterator[requests.Response]:
    """Yield the storage's response: the archive from ``first_byte`` on (206) or whole (200)."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
    request.dataset_version_number = dataset.version
    with (
        _translate_errors(dataset),
        _open_client(timeout_s, first_byte) as client,
        closing(client.download_dataset(request)) as response,
    ):
        yield response


class _TimeoutAndRangeAdapter(HTTPAdapter):
    """Adds to the client's requests what it has no setting for: a timeout, and a range.

    The client follows Kaggle's redirect to the storage by itself, so this is the only place where
    the range can be added to the storage's request alone.
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

    It's built here as in ``kagglehub.clients.build_kaggle_client``, but never verbose: with
    ``KAGGLE_API_ENVIRONMENT=TEST`` that one prints the credentials and reads whole archives into
    memory.
    """
    from kagglehub import __version__
    from kagglehub.config import KaggleApiCredentials
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import get_env

    credentials = _find_credentials() or KaggleApiCredentials()
    with KaggleClient(
        env=get_env(),
        username=credentials.username,
        password=credentials.key,
        api_token=credentials.api_key,
        user_agent=f"kagglehub/{__version__}",
    ) as client:
        # private, but the only access to timeouts; made by __enter__, closed by __exit__
        session = client.http_client()._session
        for scheme in ("https://", "http://"):
            session.mount(scheme, _TimeoutAndRangeAdapter(timeout_s, first_byte))
        yield client.datasets.dataset_api_client


def _find_credentials() -> Any:
    """Look in kagglehub's usual places. Its own error messages may hold the secret: never shown."""
    from kagglehub.config import get_kaggle_credentials

    try:
        credentials = get_kaggle_credentials()
    except (OSError, ValueError) as error:
        raise SourceError(
            f"the Kaggle credentials can't be read ({type(error).__name__}): see KAGGLE_API_TOKEN"
            f" (a file's path, or a token short enough for one) and ~/.kaggle, or {CREATE_TOKEN}"
        ) from None
    secrets = vars(credentials).values() if credentials else ()
    if credentials:
        add_secrets(credentials.key, credentials.api_key)
    if not all(secret.isascii() and secret.isprintable() for secret in secrets if secret):
        raise SourceError(
            "the Kaggle credentials can't be sent, they hold a line break, or a letter that is not"
            f" ASCII: {CREATE_TOKEN}"
        )
    return credentials


@contextmanager
def _translate_errors(dataset: Dataset) -> Iterator[None]:
    """Turn the client's errors into :class:`SourceError` and :class:`TemporaryError`.

    Their messages and their chain are dropped: they hold signed addresses, headers and whatever
    the server echoed.
    """
    try:
        yield
    except requests.HTTPError as error:
        raise _http_error(dataset, error.response) from None
    except requests.exceptions.ChunkedEncodingError:
        raise TemporaryError("the connection to Kaggle was cut") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        host = urlsplit(error.request.url or "").hostname if error.request else "Kaggle"
        lack = "" if _find_credentials() else "; no Kaggle token was found either"
        raise TemporaryError(
            f"the connection to {host} failed ({type(error).__name__}{lack})"
        ) from None
    except (requests.RequestException, json.JSONDecodeError) as error:
        raise SourceError(
            f"the response for {dataset} is not Kaggle's ({type(error).__name__}): check for a"
            " proxy or a login page in between"
        ) from None


def _http_error(dataset: Dataset, response: requests.Response) -> SourceError | TemporaryError:
    response.close()  # the client leaves a rejected download open
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST:  # Kaggle may put the status into the body of a 200
        status = int(response.json()["code"])
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        what = "accepts no more requests for now" if status < 500 else "has an internal error"
        temporary = TemporaryError(f"Kaggle {what} ({status})")
        temporary.retry_after_s = _retry_after_s(response)
        return temporary
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return CannotResumeError()
    # the first request, to Kaggle: the redirected one, to the storage, is never signed in
    signed_in = "Authorization" in [*response.history, response][0].request.headers
    return SourceError(_rejection(dataset, status, signed_in))


def _rejection(dataset: Dataset, status: int, signed_in: bool) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        lack = "rejected the credentials" if signed_in else "needs credentials and none were found"
        return f"Kaggle {lack} (401) for {dataset}: {CREATE_TOKEN}"
    if status == HTTPStatus.FORBIDDEN:
        lack = "" if signed_in else f"; no credentials were found either: {CREATE_TOKEN}"
        return (
            f"Kaggle denies access to {dataset} (403), or it doesn't exist: open {dataset.page}"
            f" while signed in, accept its terms, and run again{lack}"
        )
    if status == HTTPStatus.NOT_FOUND:
        return f"Kaggle has no {dataset} (404): compare with {dataset.page}"
    return f"Kaggle rejected the request for {dataset} ({status}): see {dataset.page}"


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
