"""Names: of files, as text that can be printed on one line, and of options in either spelling."""

import os
import unicodedata

_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of control, format and surrogate characters and of line separators."""


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file's name, or a message with one, in which nothing moves the cursor or fails to encode.

    A byte that isn't UTF-8 (a lone surrogate, :pep:`383`) is written as ``\xe9``; control
    characters, line separators and those that turn the direction of writing as ``\n``, ``\x1b``,
    ``\u202e``. Bash's ``$'…'`` reads these; all other text is returned unchanged.
    """
    return "".join(map(_escape, os.fspath(name)))


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def british(value: str) -> str:
    """An option's value in this project's spelling: ``color`` → ``colour``."""
    return "colour" if value == "color" else value
