"""Server addresses, as they may be printed and stored."""

from urllib.parse import urlsplit, urlunsplit


def without_credentials(uri: str) -> str:
    """Remove user name and password from an address; any other text is returned unchanged."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # not an address at all
        return uri
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
