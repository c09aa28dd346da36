"""The operating system that the pipeline needs."""

import sys

NEEDS_LINUX = (
    "Image-Colorizer's pipeline needs Linux: it uses Linux's signals, process groups and memory"
    " limits (on Windows: WSL 2); colorizer itself runs here"
)
"""The Makefile says the same."""


def require_linux() -> None:
    """Print what is missing and exit with code 2, on any other system."""
    if sys.platform != "linux":
        print(f"error: {NEEDS_LINUX}", file=sys.stderr)
        sys.exit(2)
