"""Colours as text: ``#e8b090``."""

import re

_HEX = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""


def parse_colour(text: str) -> Colour | None:
    """``#e8b090``, or without the ``#``; None for anything else."""
    match = _HEX.fullmatch(text)
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None
