"""What zipfile, tarfile and the decompressors raise for a damaged archive."""

import errno
import lzma
import tarfile
import zipfile
import zlib

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,  # encrypted, or a compression unknown to Python
)


def is_damage(error: BaseException) -> bool:
    """Whether zipfile, tarfile or a decompressor raised this for damage, not for a disk's fault."""
    if isinstance(error, OSError):
        # a bare OSError is from gzip or bz2, an EINVAL from zipfile seeking before the start
        return error.errno in {None, errno.EINVAL}
    return isinstance(error, _DAMAGE)
