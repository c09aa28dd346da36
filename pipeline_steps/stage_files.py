"""The JSON files by which stages talk."""

import json
from pathlib import Path
from typing import Any

from pipeline_steps.errors import DataError


def read_json(path: Path) -> dict[str, Any]:
    """Read what an earlier stage wrote. Raises :class:`DataError` if it is missing or damaged."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: unreadable ({error}); `dvc repro` makes it") from None
    return value
