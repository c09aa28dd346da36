"""The file of hints that lies beside a sketch: ``page.hints.json`` or ``page.hints.png``."""

import re
from contextlib import suppress
from pathlib import Path, PurePath

KINDS = ("json", "png")
_NAME = re.compile(rf"(.+)\.hints\.({'|'.join(KINDS)})", re.IGNORECASE)


def find_hints(sketch: Path) -> Path | None:
    """The hints beside a sketch; JSON comes before a picture. None if there are none."""
    for kind in KINDS:
        with suppress(OSError):  # the name would be too long
            path = sketch.with_name(f"{sketch.stem}.hints.{kind}")
            if path.is_file():
                return path
    return None


def stem_of_sketch(name: PurePath) -> str | None:
    """``page.hints.png`` → ``page``; None for what isn't a file of hints by its name."""
    match = _NAME.fullmatch(name.name)
    return match[1] if match else None
