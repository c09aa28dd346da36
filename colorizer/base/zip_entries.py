"""Members of zip archives: how this project writes them, and what one that it reads is."""

import zipfile

TIMESTAMP = (2024, 1, 1, 0, 0, 0)
"""Of every member, so that equal contents give equal bytes."""
_ENCRYPTED = 0x1


def zip_entry(name: str) -> zipfile.ZipInfo:
    """A member of a zip that this project writes: a plain file whose time is always the same."""
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.external_attr = 0o644 << 16
    return entry


def is_encrypted(entry: zipfile.ZipInfo) -> bool:
    """Whether a member can be read with a password only."""
    return bool(entry.flag_bits & _ENCRYPTED)


def list_files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members that aren't folders; one without a name, which zipfile can't classify, isn't."""
    return [entry for entry in archive.infolist() if entry.filename and not entry.is_dir()]
