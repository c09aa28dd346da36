"""What an HTTP server answered to a request of MLflow's, by status: whether to try again.

MLflow hides it: in ``requests.HTTPError`` (files), in the text of an exception (no JSON, or given
up after retries), or in an error code of its own (JSON). Needs MLflow or mlflow-skinny.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple

from colorizer.base.addresses import without_credentials

PASSING_STATUSES = frozenset((408, 425, 429))
"""Of the 4xx; every 5xx may pass too."""
SLOW_STATUSES = frozenset((504, 524))
"""A proxy's, when the server behind it takes too long; that one may still store what was sent."""
LARGE_BYTES = 50_000_000
"""A file from this size on is worth sending in parts."""
IN_PARTS = (
    "or, where its files are in a bucket that this machine reaches too, have large ones sent there"
    " in parts (MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=50000000)"
)
"""MLflow does so by itself from 500 MB (2²⁰ bytes each) on."""
_STATUSES = (
    re.compile(r"failed with error code (\d{3}) !="),  # MLflow: an answer that isn't JSON
    re.compile(r"too many (\d{3}) error responses"),  # urllib3: after its retries
    re.compile(r"\b(\d{3}) (?:Client|Server) Error\b"),  # requests: a failed download, as text
)
_ADDRESS = re.compile(r"(?:API request to|for url:) (https?://\S+)")


class Answer(NamedTuple):
    """An answer that isn't a success."""

    status: int | None
    """None: MLflow kept only that it's an error that isn't retried, so none of the server's."""
    address: str = ""
    """What was asked, without user name and password; empty if MLflow dropped it."""
    num_bytes: int | None = None
    """Of the request's body, if it was a file."""
    has_reason: bool = False
    """The exception's text says why: the answer was JSON, not a page."""

    @property
    def is_final(self) -> bool:
        """Whether the same request will be rejected again: 4xx, but for 408, 425 and 429."""
        return self.status is None or (
            400 <= self.status < 500 and self.status not in PASSING_STATUSES
        )

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.status == 413:
            limit = "raise its, or its proxy's, limit of a request's body (client_max_body_size)"
            return f"{limit}{self._or_in_parts}"
        if self.status in SLOW_STATUSES:
            limit = "raise its proxy's time-out (proxy_read_timeout)"
            return f"{limit}, or try again later{self._or_in_parts}"
        if self.status in (401, 407):
            return "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        if self.status == 500:
            return "try again later; the server's log says why"
        return "see the log of the server and its proxy" if self.is_final else "try again later"

    @property
    def _or_in_parts(self) -> str:
        return f", {IN_PARTS}" if (self.num_bytes or 0) >= LARGE_BYTES else ""

    def __str__(self) -> str:
        known = {each.value: f" {each.phrase}" for each in HTTPStatus}
        what = "an error" if self.status is None else f"{self.status}{known.get(self.status, '')}"
        size = "" if self.num_bytes is None else f" to {format_size(self.num_bytes)}"
        return f"{self.address or 'the server'} answered {what}{size}"


def find_answer(error: BaseException) -> Answer | None:
    """The answer that an exception of MLflow's stands for; None if there was none."""
    from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException, RestException
    from requests import HTTPError

    for cause in _causes(error):
        if isinstance(cause, HTTPError) and cause.response is not None:
            return _of_response(cause)
        if not isinstance(cause, MlflowException):
            continue
        text = str(cause)
        found = next((match for each in _STATUSES if (match := each.search(text))), None)
        if found:
            address = _ADDRESS.search(text)
            where = without_credentials(address[1].rstrip(".:,")) if address else ""
            return Answer(int(found[1]), where)
        if cause.error_code != "INTERNAL_ERROR":
            return Answer(ERROR_CODE_TO_HTTP_STATUS.get(cause.error_code), has_reason=True)
        if isinstance(cause, RestException):
            # JSON without a code of MLflow's, as gateways write. MLflow raises 408, 429 and the
            # usual 5xx otherwise, after retries, so it's none of these
            return Answer(None, has_reason=True)
    return None


def is_connection_lost(error: BaseException) -> bool:
    """Whether no answer came, since the server wasn't reached, was too slow or hung up."""
    from requests import ConnectionError as NoConnectionError
    from requests import Timeout
    from requests.exceptions import ChunkedEncodingError

    lost = (NoConnectionError, Timeout, ChunkedEncodingError, ConnectionError, TimeoutError)
    if find_answer(error) is not None:
        return False
    return any(isinstance(cause, lost) for cause in _causes(error))


def is_too_slow(error: BaseException) -> bool:
    """Whether the server took too long to answer: it may still store what it was sent."""
    from requests import ReadTimeout
    from urllib3.exceptions import ReadTimeoutError

    answer = find_answer(error)
    if answer is not None:
        return answer.status in SLOW_STATUSES
    return any(isinstance(cause, ReadTimeout | ReadTimeoutError) for cause in _causes(error))


def format_size(num_bytes: int) -> str:
    """Bytes in the unit that suits them, of 10³ and 10⁶: ``381 B``, ``20.5 kB``, ``218.0 MB``."""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    return f"{num_bytes / 1e3:.1f} kB" if num_bytes < 1e6 else f"{num_bytes / 1e6:.1f} MB"


def _of_response(error: "object") -> Answer:
    response, request = error.response, error.response.request  # type: ignore[attr-defined]
    length = request.headers.get("Content-Length") if request is not None else None
    is_file = request is not None and hasattr(request.body, "read")
    return Answer(
        response.status_code,
        without_credentials(response.url or ""),
        int(length) if is_file and length else None,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
