"""Hashes computed while bytes are read or written, so that a large file isn't read twice."""

import base64
import hashlib
from collections.abc import Iterable
from typing import IO, Any

import google_crc32c

READ_BYTES = 1024 * 1024
"""Of a file at a time."""


class StreamHashes:
    """The SHA-256 of a stream, and its ``md5`` and ``crc32c`` if ``digest_names`` has them."""

    def __init__(self, digest_names: Iterable[str] = ()) -> None:
        self.num_bytes = 0
        self._sha256 = hashlib.sha256()
        self._digests = {name: _new_digest(name) for name in digest_names if name in _DIGESTS}

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self.num_bytes += len(chunk)
        self._sha256.update(chunk)
        for digest in self._digests.values():
            digest.update(chunk)

    def sha256(self) -> str:
        """The SHA-256 so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def find_mismatch(self, expected: dict[str, str]) -> str | None:
        """The name of a digest that differs from the expected one (base64); None if all agree."""
        for name, digest in self._digests.items():
            if base64.b64encode(digest.digest()).decode() != expected[name]:
                return name
        return None


class HashingReader:
    """A binary file whose bytes are hashed as they are read, from start to end."""

    def __init__(self, file: IO[bytes], hashes: StreamHashes) -> None:
        self._file = file
        self._hashes = hashes

    def read(self, num_bytes: int) -> bytes:
        """Read up to so many bytes; empty at the end."""
        chunk = self._file.read(num_bytes)
        self._hashes.update(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_DIGESTS = ("md5", "crc32c")


def _new_digest(name: str) -> Any:
    return hashlib.md5(usedforsecurity=False) if name == "md5" else google_crc32c.Checksum()
