"""One file over HTTP: resumed after a cut, retried, hashed as it comes, checked at the end.

``<file>.part.json`` records the size and the hashes in the first response's headers: the response
to a range request may lack them, and parts of two files must never be joined.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
        """Try once to download the missing bytes; remove those that can't be resumed from.

        Raises :class:`TemporaryError` if it's worth another try.
        """
        num_expected = self.expected.bytes
        if num_expected and self.num_bytes == num_expected:
            return
        if not num_expected or self.num_bytes > num_expected:
            self.remove()
        try:
            with open_from(self.num_bytes) as response:
                self._write_body(response)
        except CannotResumeError:
            self.remove()
            raise

    def check_hashes(self) -> str:
        """Compare the whole file with the expected hashes; return its SHA-256.

        Raises :class:`DamageError` if one differs.
        """
        self._hash_bytes_on_disk()
        if name := self._hashes.find_mismatch(self.expected.hashes):
            raise DamageError(f"its {name} is not the storage's")
        return self._hashes.sha256()

    def _write_body(self, response: requests.Response) -> None:
        """Write the body as it comes, after the bytes on disk or instead of them."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            self._check_range(response)
        else:
            self.remove()
            write_json(self._expected_path, _read_expected(response)._asdict())
        num_expected = self.expected.bytes
        missing_bytes = max(0, (num_expected or 0) - self.num_bytes)
        require_disk_space(self.path.parent, missing_bytes, "the rest of the archive")
        self._hash_bytes_on_disk()
        with (
            self.path.open("ab") as file,
            _progress("downloading", num_expected, done=self.num_bytes) as bar,
        ):
            for chunk in response.iter_content(NETWORK_CHUNK_BYTES):
                file.write(chunk)
                self._hashes.update(chunk)
                bar.update(len(chunk))
        if num_expected not in {None, self.num_bytes}:
            raise TemporaryError("the archive came with a wrong length")

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
        num_expected, expected_hashes = self.expected
        rest = f"bytes {self.num_bytes}-{(num_expected or 0) - 1}/{num_expected}"
        hashes = _read_hashes(response)
        same_hashes = all(
            hashes.get(name, value) == value for name, value in expected_hashes.items()
        )
        if response.headers.get("Content-Range") != rest or not same_hashes:
            raise CannotResumeError


def _read_expected(response: requests.Response) -> ExpectedFile:
    length = response.headers.get("Content-Length", "")
    return ExpectedFile(int(length) if length.isdecimal() else None, _read_hashes(response))


def _read_hashes(response: requests.Response) -> dict[str, str]:
    """Read ``x-goog-hash: crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    pairs = (part.partition("=") for part in response.headers.get("x-goog-hash", "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _progress(what: str, total_bytes: int | None, *, done: int = 0) -> "tqdm[Any]":
    return tqdm(
        desc=what, total=total_bytes, initial=done, unit="B", unit_scale=True, unit_divisor=1024
    )
