"""Members of zip archives: those that this project writes, and encrypted ones."""

import zipfile

TIMESTAMP = (2024, 1, 1, 0, 0, 0)
_ENCRYPTED = 0x1


def zip_entry(name: str) -> zipfile.ZipInfo:
    """A member of a zip that this project writes: a plain file whose time is always the same."""
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.external_attr = 0o644 << 16
    return entry


def is_encrypted(entry: zipfile.ZipInfo) -> bool:
    """Whether a member can be read with a password only."""
    return bool(entry.flag_bits & _ENCRYPTED)
