"""Types of command-line arguments, whose errors argparse prints with the argument's name."""

import argparse
from collections.abc import Callable


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number from ``least`` to ``most`` (None: no limit)."""
    limits = f"≥ {least}" if most is None else f"{least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() else least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"must be {limits}, got {text}")
        return number

    return parse


port_number = whole_number(0, 65_535)
"""The type of a TCP port; 0 stands for any that is free."""
