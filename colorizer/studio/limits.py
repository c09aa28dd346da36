"""What one server accepts: bytes, pixels, concurrent pictures, waiting requests and seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one server."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 25_000_000
    workers: int = 2
    """Pictures that are coloured at once, each with a decoder process."""
    max_waiting: int = 16
    """Requests that wait for a worker; one more gets status 429."""
    body_timeout_s: float = 60.0
    """From the first to the last byte of a body."""
