"""One file over HTTP: resumed after a cut, retried, hashed as it comes, checked at the end.

``<file>.part.json`` records the size and the hashes in the first response's headers: the response
to a range request may lack them, and parts of two files must never be joined.

The bytes on disk are only given up for another archive that the server sends as the whole file. A
login page, a proxy's page or another part of the file leaves them alone.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from colorizer.base.files import write_json
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import SourceUnreachableError
from pipeline_steps.download.archive_check import DamageError
from pipeline_steps.download.hashing import READ_BYTES, StreamHashes

NUM_TRIES = 5
MAX_WAIT_S = 120.0
"""The longest pause between two tries, whether the server asks for it or not."""

NETWORK_CHUNK_BYTES = 256 * 1024
"""Written when it's whole, so a cut loses at most so much."""

_PAGE_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")
_PAGE_BEGINNINGS = (b"<", b"{")
"""After spaces; no zip and no tar begins so."""
_ARCHIVE_BEGINNINGS = (b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_USTAR = slice(257, 262)

T = TypeVar("T")
OpenFrom = Callable[[int], AbstractContextManager[requests.Response]]
"""Requests the file from a byte on; the response is that rest (206) or the whole file (200)."""


class TemporaryError(Exception):
    """A failure worth a retry, after ``retry_after_s`` if the server says so."""

    retry_after_s: float | None = None


class CannotResumeError(TemporaryError):
    """The bytes on disk aren't the beginning of what the server would send."""

    def __str__(self) -> str:
        return "the archive changed during the download, or another part of it was sent"


def with_retries(step: Callable[[], T], retry_delay_s: float) -> T:
    """Run a step until it succeeds, ``NUM_TRIES`` times at most.

    The pause is ``retry_delay_s`` after the first :class:`TemporaryError`, then twice as long each
    time, or what the error says. Raises :class:`SourceUnreachableError` after the last try.
    """
    for num_failures in range(1, NUM_TRIES + 1):
        try:
            return step()
        except TemporaryError as error:
            wait_s = error.retry_after_s
            if wait_s is None:
                wait_s = min(retry_delay_s * 2 ** (num_failures - 1), MAX_WAIT_S)
            if wait_s > MAX_WAIT_S:
                raise SourceUnreachableError(
                    f"{error}: run again in {wait_s:.0f} s, not before"
                ) from None
            if num_failures == NUM_TRIES:
                raise SourceUnreachableError(
                    f"{error}, {NUM_TRIES} times over: run again later, a download resumes where it"
                    " stopped"
                ) from None
            print(f"{error}: trying again in {wait_s:.0f} s", file=sys.stderr)
            time.sleep(wait_s)
    raise AssertionError("the last failure is raised above")


class ExpectedFile(NamedTuple):
    """Size and hashes of the whole file, from the first response's headers."""

    bytes: int | None
    hashes: dict[str, str]
    """Base64 digests by name: ``md5``, ``crc32c``, both or none."""
    etag: str | None = None

    def may_be(self, other: "ExpectedFile") -> bool:
        """Whether size and hashes are equal, as far as both are known."""
        sizes = {self.bytes, other.bytes} - {None}
        hashes = self.hashes.items()
        return len(sizes) < 2 and all(other.hashes.get(k, v) == v for k, v in hashes)


class PartialFile:
    """A download in progress: the bytes on disk, and what the whole file should be.

    The bytes are hashed as they are written. Only those that an earlier process left are read back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._expected_path = path.with_name(path.name + ".json")
        self._hashes = StreamHashes()

    @property
    def num_bytes(self) -> int:
        """How many bytes are on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def expected(self) -> ExpectedFile:
        """What the whole file should be; unknown if nothing was recorded, or not readably."""
        try:
            return ExpectedFile(**json.loads(self._expected_path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return ExpectedFile(None, {})

    def remove(self) -> None:
        """Remove the bytes and the record."""
        self.path.unlink(missing_ok=True)
        self._expected_path.unlink(missing_ok=True)

    def fetch_rest(self, open_from: OpenFrom) -> None:
        """Try once to download the missing bytes.

        Raises :class:`TemporaryError` if it's worth another try, and
        :class:`SourceUnreachableError` if a web page comes instead of the file.
        """
        num_expected = self.expected.bytes
        if num_expected and self.num_bytes == num_expected:
            return
        if num_expected and self.num_bytes > num_expected:
            self.remove()
        try:
            # what continues a file of unknown size can't be checked: compared with the whole one
            with open_from(self.num_bytes if num_expected else 0) as response:
                self._write_body(response)
        except CannotResumeError:
            # whether the archive has changed is seen when it's requested as a whole
            with open_from(0) as response:
                self._write_body(response)

    def check_hashes(self) -> str:
        """Compare the whole file with the expected hashes; return its SHA-256.

        Raises :class:`DamageError` if one differs.
        """
        self._hash_bytes_on_disk()
        if name := self._hashes.find_mismatch(self.expected.hashes):
            raise DamageError(f"its {name} is not the storage's")
        return self._hashes.sha256()

    def _write_body(self, response: requests.Response) -> None:
        """Write the body as it comes: after the bytes on disk, or all of it, if it's another's."""
        chunks = _without_pages(response)
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            self._check_range(response)
        else:
            found = _read_expected(response)
            first = next(chunks, b"")  # a page is refused before anything is changed
            chunks = chain([first], chunks)
            if self.num_bytes and self.expected.may_be(found) and self._begins_with(first):
                chunks = self._beyond_bytes_on_disk(chunks)
            elif self.num_bytes:
                _require_archive(first)
                self.remove()
            if self.expected.bytes is None:
                write_json(self._expected_path, found._asdict())
                self._hashes = StreamHashes()
        num_expected = self.expected.bytes
        missing_bytes = max(0, (num_expected or 0) - self.num_bytes)
        require_disk_space(self.path.parent, missing_bytes, "the rest of the archive")
        self._hash_bytes_on_disk()
        with (
            self.path.open("ab") as file,
            _progress("downloading", num_expected, done=self.num_bytes) as bar,
        ):
            for chunk in chunks:
                file.write(chunk)
                self._hashes.update(chunk)
                bar.update(len(chunk))
        if num_expected not in {None, self.num_bytes}:
            raise TemporaryError("the archive came with a wrong length")

    def _begins_with(self, first: bytes) -> bool:
        """Whether the bytes on disk and the first ones of a file are equal, as far as they go."""
        with self.path.open("rb") as file:
            known = file.read(len(first))
        return first.startswith(known)

    def _beyond_bytes_on_disk(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """What a whole file has after the bytes on disk. Removes these if it has others."""
        num_left = self.num_bytes
        with self.path.open("rb") as file:
            for chunk in chunks:
                known = file.read(min(num_left, len(chunk)))
                if not chunk.startswith(known):
                    self.remove()
                    raise CannotResumeError
                num_left -= len(known)
                if len(chunk) > len(known):
                    yield chunk[len(known) :]

    def _hash_bytes_on_disk(self) -> None:
        """Bring the hashes up to the bytes on disk; read these unless this process wrote them."""
        if self._hashes.num_bytes == self.num_bytes > 0:
            return
        self._hashes = StreamHashes(self.expected.hashes)
        if not self.num_bytes:
            return
        with self.path.open("rb") as file, _progress("verifying", self.num_bytes) as bar:
            while chunk := file.read(READ_BYTES):
                self._hashes.update(chunk)
                bar.update(len(chunk))

    def _check_range(self, response: requests.Response) -> None:
        """Make sure that a 206 continues where the bytes on disk end, in the same file."""
        expected, found = self.expected, _read_expected(response)
        rest = f"bytes {self.num_bytes}-{(expected.bytes or 0) - 1}/{expected.bytes}"
        is_same = found._replace(bytes=None).may_be(expected)
        if None not in (expected.etag, found.etag):
            is_same = is_same and expected.etag == found.etag
        if response.headers.get("Content-Range") != rest or not is_same:
            raise CannotResumeError


def _without_pages(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks. Raises :class:`SourceUnreachableError` if it's a web page."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_rest = response.status_code == HTTPStatus.PARTIAL_CONTENT
    is_first = True
    for chunk in response.iter_content(NETWORK_CHUNK_BYTES):
        looks_like_page = not is_rest and chunk.lstrip().startswith(_PAGE_BEGINNINGS)
        if is_first and (kind.startswith(_PAGE_TYPES) or looks_like_page):
            host = urlsplit(response.url or "").hostname or "the server"
            raise SourceUnreachableError(
                f"{host} sent a web page instead of the archive ({kind or 'of no type'}): sign in"
                " where a login page or a proxy is in between, and run again; what was downloaded"
                " is kept"
            )
        is_first = False
        yield chunk


def _require_archive(first: bytes) -> None:
    """Raise :class:`TemporaryError` unless a file's first bytes are those of an archive."""
    if not first.startswith(_ARCHIVE_BEGINNINGS) and first[_USTAR] != b"ustar":
        raise TemporaryError("something else was sent instead of the archive")


def _read_expected(response: requests.Response) -> ExpectedFile:
    length = response.headers.get("Content-Length", "")
    return ExpectedFile(
        int(length) if length.isdecimal() else None,
        _read_hashes(response),
        response.headers.get("ETag"),
    )


def _read_hashes(response: requests.Response) -> dict[str, str]:
    """Read ``x-goog-hash: crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    pairs = (part.partition("=") for part in response.headers.get("x-goog-hash", "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _progress(what: str, total_bytes: int | None, *, done: int = 0) -> "tqdm[Any]":
    return tqdm(
        desc=what, total=total_bytes, initial=done, unit="B", unit_scale=True, unit_divisor=1024
    )
