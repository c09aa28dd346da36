"""Members of zip archives: how this project writes them, and what one that it reads is."""

import zipfile

from colorizer.base.archive_damage import is_damage
from colorizer.base.errors import PictureError

TIMESTAMP = (2024, 1, 1, 0, 0, 0)
"""Of every member, so that equal contents give equal bytes."""
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


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


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """A member's bytes. Raises :class:`PictureError` if it is damaged, encrypted or too large."""
    if is_encrypted(entry):
        raise PictureError("encrypted: unpack the archive and pack it without a password")
    if entry.compress_type not in _METHODS:
        raise PictureError("packed by another method than Deflate: pack the archive again")
    if entry.file_size > max_bytes:
        raise PictureError(f"too large: {entry.file_size} bytes unpacked, at most {max_bytes}")
    try:
        # a member that unpacks to more than it says fails its checksum
        return archive.read(entry)
    except Exception as error:
        if not is_damage(error):
            raise
        raise PictureError("damaged in the archive") from None
