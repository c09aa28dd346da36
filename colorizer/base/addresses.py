"""Server addresses, as they may be printed and stored."""

import re
from urllib.parse import urlsplit

# without the scheme: a pattern that begins with it takes quadratic time in a long text
_CREDENTIALS = re.compile(r"(?<=[A-Za-z0-9+.-])://[^\s/?#'\"<>\\`]*@")


def without_credentials(text: str) -> str:
    """Remove user name and password from an address, or from each in a text."""
    return _CREDENTIALS.sub("://", text) if "://" in text and "@" in text else text


def split_credentials(uri: str) -> tuple[str, str] | None:
    """User name and password of an address, as they are spelled there; None without any.

    Also of an address in which a password's ``/``, ``#`` or ``?`` should have been percent-encoded:
    whoever reads it wrongly prints it.
    """
    _, found, rest = uri.partition("://")
    if not found or "@" not in rest:
        return None
    try:
        parts = urlsplit(uri)
        is_valid = "@" in parts.netloc or parts.port is not None or ":" not in parts.netloc
    except ValueError:  # the port isn't a number
        is_valid = False
    userinfo = (parts.netloc if is_valid else rest).rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    return (user, password) if userinfo else None
