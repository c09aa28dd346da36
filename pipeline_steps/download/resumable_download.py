"""The bytes of one file over HTTP: resumed after a cut, retried, held to what was promised.

Beside ``<file>.part`` lies ``<file>.part.json``, the size and the hashes that the first answer
promised: the answer to a range may come without them, and two files must never be joined.
"""

import base64
import hashlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import google_crc32c
import requests
from tqdm import tqdm

from colorizer.base.files import write_json
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import SourceUnreachableError
from pipeline_steps.download.archive_check import READ_BYTES, DamageError

NUM_TRIES = 5
MAX_WAIT_S = 120.0
"""The longest pause between two tries, asked for by the server or ours."""

# What a cut loses at most: a chunk is written when it is whole.
NETWORK_CHUNK_BYTES = 256 * 1024

T = TypeVar("T")
OpenFrom = Callable[[int], AbstractContextManager[requests.Response]]
"""Asks for the file from a byte on; the answer is that rest (206) or the whole file (200)."""


class PassingError(Exception):
    """A failure that may pass by itself, after ``retry_after_s`` if the server says so."""

    retry_after_s: float | None = None


class RangeError(PassingError):
    """What has come can't be gone on from."""

    def __str__(self) -> str:
        return "the archive changed while it was on its way, or another part of it was sent"


def with_retries(step: Callable[[], T], retry_delay_s: float) -> T:
    """Run a step until it succeeds, ``NUM_TRIES`` times at most.

    The pause is ``retry_delay_s`` after the first :class:`PassingError`, then twice as long each
    time, or what the error says. Raises :class:`SourceUnreachableError` when it gives up.
    """
    for num_failures in range(1, NUM_TRIES + 1):
        try:
            return step()
        except PassingError as error:
            wait_s = error.retry_after_s
            if wait_s is None:
                wait_s = min(retry_delay_s * 2 ** (num_failures - 1), MAX_WAIT_S)
            if wait_s > MAX_WAIT_S:
                raise SourceUnreachableError(
                    f"{error}: run again in {wait_s:.0f} s, not before"
                ) from None
            if num_failures == NUM_TRIES:
                raise SourceUnreachableError(
                    f"{error}, {NUM_TRIES} times over: try again later, what has come is kept"
                ) from None
            print(f"{error}: trying again in {wait_s:.0f} s", file=sys.stderr)
            time.sleep(wait_s)
    raise AssertionError("the last failure is raised above")


class Promise(NamedTuple):
    """What the storage said of the whole file when its download began."""

    bytes: int | None
    hashes: dict[str, str]
    """Base64 digests by name: ``md5``, ``crc32c``, both or none."""


class PartialFile:
    """A download under way: the bytes that came, and the promise they are held to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._promise_path = path.with_name(path.name + ".json")

    @property
    def num_bytes(self) -> int:
        """How much has come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def promise(self) -> Promise:
        """What was promised when it began; nothing, if it hasn't or that can't be read."""
        try:
            return Promise(**json.loads(self._promise_path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return Promise(None, {})

    def drop(self) -> None:
        """Remove what has come."""
        self.path.unlink(missing_ok=True)
        self._promise_path.unlink(missing_ok=True)

    def fetch_rest(self, open_from: OpenFrom) -> None:
        """Try once to bring what is missing; drop what can't be gone on from."""
        num_promised = self.promise.bytes
        if num_promised and self.num_bytes == num_promised:
            return
        if not num_promised or self.num_bytes > num_promised:
            self.drop()
        try:
            with open_from(self.num_bytes) as response:
                self._take(response)
        except RangeError:
            self.drop()
            raise

    def check_hashes(self) -> str:
        """Hold the whole file to the promised hashes; return its SHA-256.

        Raises :class:`DamageError` if one is another.
        """
        sha256 = hashlib.sha256()
        promisable: dict[str, Any] = {
            "md5": hashlib.md5(usedforsecurity=False),
            "crc32c": google_crc32c.Checksum(),
        }
        with self.path.open("rb") as file, _progress("verifying", self.num_bytes) as bar:
            while chunk := file.read(READ_BYTES):
                for hasher in (sha256, *promisable.values()):
                    hasher.update(chunk)
                bar.update(len(chunk))
        for name, hasher in promisable.items():
            came = base64.b64encode(hasher.digest()).decode()
            if self.promise.hashes.get(name, came) != came:
                raise DamageError(f"its {name} is not the storage's")
        return sha256.hexdigest()

    def _take(self, response: requests.Response) -> None:
        """Write the body as it comes, after what is there or anew."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            self._check_it_goes_on(response)
        else:
            self.drop()
            write_json(self._promise_path, _read_promise(response)._asdict())
        num_promised = self.promise.bytes
        missing_bytes = max(0, (num_promised or 0) - self.num_bytes)
        require_disk_space(self.path.parent, missing_bytes, "the rest of the archive")
        with (
            self.path.open("ab") as file,
            _progress("downloading", num_promised, done=self.num_bytes) as bar,
        ):
            for chunk in response.iter_content(NETWORK_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
        if num_promised not in {None, self.num_bytes}:
            raise PassingError("the archive came with a wrong length")

    def _check_it_goes_on(self, response: requests.Response) -> None:
        """Make sure that a 206 goes on where we stopped, in the same file."""
        num_promised, promised_hashes = self.promise
        rest = f"bytes {self.num_bytes}-{(num_promised or 0) - 1}/{num_promised}"
        hashes = _read_hashes(response)
        same_hashes = all(
            hashes.get(name, value) == value for name, value in promised_hashes.items()
        )
        if response.headers.get("Content-Range") != rest or not same_hashes:
            raise RangeError


def _read_promise(response: requests.Response) -> Promise:
    length = response.headers.get("Content-Length", "")
    return Promise(int(length) if length.isdecimal() else None, _read_hashes(response))


def _read_hashes(response: requests.Response) -> dict[str, str]:
    """Read ``x-goog-hash: crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    pairs = (part.partition("=") for part in response.headers.get("x-goog-hash", "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _progress(what: str, total_bytes: int | None, *, done: int = 0) -> "tqdm[Any]":
    return tqdm(
        desc=what, total=total_bytes, initial=done, unit="B", unit_scale=True, unit_divisor=1024
    )
