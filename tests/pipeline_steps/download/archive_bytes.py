"""Small archives made in memory, damaged archives, and a counter of the bytes read."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def tar_of(members: dict[str, bytes], *, compression: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def noise(num_bytes: int) -> bytes:
    return hashlib.shake_128(b"pictures").digest(num_bytes)


def flip_byte(content: bytes, position: int) -> bytes:
    flipped = bytearray(content)
    flipped[position] ^= 0x20
    return bytes(flipped)


def bytes_read() -> int:
    """Bytes that this process has read from files so far, without sockets."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))
