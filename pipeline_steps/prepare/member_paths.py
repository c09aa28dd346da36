"""The path of each member of a zip, with ``/`` between its folders: also of zips made on Windows.

Names that aren't marked as UTF-8 are bytes, which zipfile decodes as CP437. In Shift-JIS 0x5C, the
backslash, is also the second byte of some characters, such as 表 and ソ.
"""

import zipfile
from collections.abc import Iterator, Sequence

_UTF8 = 0x800


def member_paths(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield a path for each member, in order.

    Backslashes separate folders where no file's name contains ``/``, except inside a character.
    """
    if any("/" in member.filename.rstrip("/") for member in members):
        return (member.filename for member in members)
    return map(_with_slashes, members)


def _with_slashes(member: zipfile.ZipInfo) -> str:
    name = member.filename
    if "\\" not in name:
        return name
    if member.flag_bits & _UTF8 or name.isascii():
        return name.replace("\\", "/")
    try:
        raw = name.encode("cp437")
        raw.decode("cp932")
    except UnicodeError:
        return name.replace("\\", "/")
    return _separate_shift_jis(raw).decode("cp437")


def _separate_shift_jis(raw: bytes) -> bytes:
    separated = bytearray(raw)
    place = 0
    while place < len(raw):
        if _begins_two_bytes(raw[place]):
            place += 2
            continue
        if raw[place] == ord("\\"):
            separated[place] = ord("/")
        place += 1
    return bytes(separated)


def _begins_two_bytes(byte: int) -> bool:
    return 0x81 <= byte <= 0x9F or 0xE0 <= byte <= 0xFC
