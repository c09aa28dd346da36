"""Secrets are kept out of what our commands print and log: one filter in front of both.

A command calls :func:`redact_output` first. From then on the text that anything writes to stdout
and stderr (tracebacks, warnings, libraries' own lines) and every log record, whatever its handler
does with it, goes through :func:`redact`. What leaves a process by another way, such as a tag of an
MLflow run or a state of a Prefect run, is passed to :func:`redact` where it leaves.

``import colorizer`` changes nothing: a program that uses it as a library logs as it likes.
"""

import base64
import functools
import json
import logging
import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from colorizer.base.addresses import split_credentials, without_credentials

HIDDEN = "***"
MIN_CHARS = 4
"""A shorter secret ("1") is hidden in addresses and headers only: elsewhere it is anything."""
MIN_CHARS_INSIDE_WORDS = 8
"""A shorter secret ("word") is hidden only where it stands alone, not as a part of a word."""
MIN_TOKEN_CHARS = 16
"""An address's user name without a password is a token, and no name, if it is as long as this."""
_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|WEBHOOK|WEBHOOK_URL|AUTH_STRING|CONNECTION_STRING"
    r"|KAGGLE_KEY|(API|SECRET|ACCESS|ACCOUNT|PRIVATE)_?KEY)$",
    re.IGNORECASE,
)
"""The end of the name of an environment variable, or of an option, whose value is a secret."""
_USER_NAME = re.compile(r"(USER|USERNAME)$", re.IGNORECASE)
_HEADER = re.compile(r"(Authorization\W{1,6}(?:Basic|Bearer)\s+)[^\s'\",]+", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&][\w.-]*(?:signature|sig|token|password|secret|key|credential)=)[^&\s'\"<>]+",
    re.IGNORECASE,
)
"""A secret in an address's query, such as the signature of a store's upload address."""
_added: set[str] = set()


def redact(text: str) -> str:
    """The text without user names and passwords in addresses, and with ``***`` for secrets.

    These are known from the environment and from :func:`add_secrets`, and hidden in each spelling
    in which libraries write them: as they are, percent-encoded, escaped, in base64 at any offset.
    """
    text = without_credentials(text)
    for shape in (_HEADER, _PARAMETER):
        text = shape.sub(rf"\1{HIDDEN}", text)
    plain, encoded = _spellings(tuple(os.environ.items()), frozenset(_added))
    for spelling in plain:
        if spelling.text in text:
            text = spelling.pattern.sub(HIDDEN, text)
    for spelling in encoded:
        if spelling.text in text:
            text = spelling.pattern.sub(HIDDEN, text)
    return text


def add_secrets(*secrets: str | None) -> None:
    """Let :func:`redact` know secrets from elsewhere than the environment.

    ``user:password``, or an address with these, stands for its password too.
    """
    _added.update(secret for secret in secrets if secret)


def is_secret_name(name: str) -> bool:
    """Whether a variable or an option of this name holds a secret."""
    return bool(_NAME.search(name))


def redact_error(error: BaseException) -> None:
    """Redact the text of an exception, and of those that it was raised from, in place."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.args = tuple(redact(each) if isinstance(each, str) else each for each in cause.args)
        cause = cause.__cause__ or cause.__context__


def redact_output() -> None:
    """Redact all that this process prints and logs from now on. May be called again."""
    for stream in (sys.stdout, sys.stderr):
        # the stream itself stays, since handlers hold it already; print, tracebacks, warnings and
        # handlers all look its method up
        if stream is not None and not isinstance(stream.write, _RedactedWrite):
            stream.write = _RedactedWrite(stream.write)  # type: ignore[method-assign]
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _RedactedRecords):
        logging.setLogRecordFactory(_RedactedRecords(factory))


class _RedactedWrite:
    """The ``write`` of a text stream."""

    def __init__(self, write: Callable[[str], int]) -> None:
        self.write = write

    def __call__(self, text: str) -> int:
        """Write the redacted text; return how many characters were given."""
        if not isinstance(text, str):
            return self.write(text)  # raises what the stream raises
        self.write(redact(text))
        return len(text)


class _RedactedRecords:
    """The factory of all log records: a handler may send them elsewhere than to a stream."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """A record whose message, traceback and stack are redacted."""
        record = self.factory(*args, **kwargs)
        with suppress(Exception):  # wrong arguments: the handler reports them
            message = record.getMessage()
            if (shown := redact(message)) != message:
                record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[0]:
            trace = logging.Formatter().formatException(record.exc_info)
            if (shown := redact(trace)) != trace:
                # formatters use this text instead of the exception
                record.exc_text, record.exc_info = shown, None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record


class _Spelling(NamedTuple):
    """A text that shows a secret, and the pattern of all that is to be hidden with it."""

    text: str
    pattern: re.Pattern[str]


@functools.lru_cache(maxsize=4)
def _spellings(
    environment: tuple[tuple[str, str], ...], added: frozenset[str]
) -> tuple[list[_Spelling], list[_Spelling]]:
    """The spellings of all known secrets, long ones first: plain ones, and in base64."""
    secrets = {part for secret in added for part in _parts(secret)}
    users = set()
    for name, value in environment:
        if _USER_NAME.search(name):
            users.add(value)
        if is_secret_name(name) or "://" in value:
            secrets |= set(_parts(value))
        if credentials := split_credentials(value):
            users.add(credentials[0])
        elif is_secret_name(name) and "://" in value:  # a webhook, whose path is the secret
            secrets |= {value, urllib.parse.urlsplit(value).path.strip("/")}
    secrets.discard("")
    plain = {form for secret in secrets for form in _plain_forms(secret) if len(form) >= MIN_CHARS}
    pairs = {f"{user}:{secret}" for user in users for secret in secrets}
    encoded = {form for secret in secrets | pairs for form in _base64_forms(secret)}
    return (
        [_Spelling(form, _plain_pattern(form)) for form in sorted(plain, key=len, reverse=True)],
        [
            _Spelling(form, re.compile(rf"(?<![\w+/-])[\w+/-]*{re.escape(form)}[\w+/=-]*"))
            for form in sorted(encoded)
        ],
    )


def _parts(secret: str) -> Iterator[str]:
    """A secret as it is configured, and what of it is secret by itself; of an address only that."""
    if "://" not in secret:
        yield secret.strip()
        yield secret.strip().partition(":")[2]  # of Prefect's user:password
    elif credentials := split_credentials(secret):
        user, password = credentials
        if not password and len(user) >= MIN_TOKEN_CHARS:
            password = user
        yield password
        yield urllib.parse.unquote(password)


def _plain_forms(secret: str) -> Iterator[str]:
    yield secret
    for quoted in (urllib.parse.quote(secret), urllib.parse.quote(secret, safe="")):
        yield quoted
        yield re.sub("%..", lambda escape: escape[0].lower(), quoted)
    yield urllib.parse.quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]


def _plain_pattern(form: str) -> re.Pattern[str]:
    escaped = re.escape(form)
    return re.compile(
        escaped if len(form) >= MIN_CHARS_INSIDE_WORDS else rf"(?<!\w){escaped}(?!\w)"
    )


def _base64_forms(secret: str) -> Iterator[str]:
    """What a secret looks like in base64, wherever it begins: its complete groups of 3 bytes."""
    data = secret.encode(errors="surrogateescape")
    for start in range(3):
        group = data[start : start + (len(data) - start) // 3 * 3]
        if len(group) >= MIN_CHARS_INSIDE_WORDS * 3 // 4:
            yield base64.b64encode(group).decode()
            yield base64.urlsafe_b64encode(group).decode()
