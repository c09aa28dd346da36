"""Addresses of servers, fit to be shown and stored."""

from urllib.parse import urlsplit, urlunsplit


def without_credentials(uri: str) -> str:
    """The address without user name and password; any other text as it is."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # not an address at all
        return uri
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
