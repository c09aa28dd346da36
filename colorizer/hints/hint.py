"""One hint, a dot of a colour; and hints as JSON.

    {"width": 800, "height": 600, "hints": [{"x": 120, "y": 80, "colour": "#e8b090", "radius": 4}]}

Width and height, in pixels, are those of the sketch, and can be left out; so can a radius, and all
but the list itself. A stroke is a row of dots.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from colorizer.base.errors import HintError
from colorizer.base.hex_colours import Colour, parse_colour
from colorizer.base.names import british

MAX_HINTS = 10_000
MAX_COORDINATE = 1e9
MAX_RADIUS_PX = 1000.0
DEFAULT_RADIUS_PX = 3.0
MAX_JSON_BYTES = 4 << 20


@dataclass(frozen=True)
class Hint:
    """A dot: its centre in pixels of the sketch from the top left, ``#rrggbb``, radius in pixels.

    White is a colour like any other: it says that a place is left white. Raises
    :class:`~colorizer.base.errors.HintError` for a colour that is none, a coordinate that isn't a
    finite number ≥ 0, or a radius that isn't above 0 and at most 1,000.
    """

    x: float
    y: float
    colour: str
    radius: float = DEFAULT_RADIUS_PX

    def __post_init__(self) -> None:
        for name, value in (("x", self.x), ("y", self.y), ("radius", self.radius)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise HintError(f"{name} must be a number, got {str(value)[:40]!r}")
            if not -MAX_COORDINATE <= value <= MAX_COORDINATE:  # NaN isn't either
                raise HintError(f"{name} must be a finite number of pixels, got {str(value)[:40]}")
        if self.x < 0 or self.y < 0:
            raise HintError(f"lies outside the picture, at {self.x:g}, {self.y:g}")
        if not 0 < self.radius <= MAX_RADIUS_PX:
            raise HintError(f"radius must be above 0, at most {MAX_RADIUS_PX:g}: {self.radius:g}")
        if not isinstance(self.colour, str) or parse_colour(self.colour) is None:
            raise HintError(f"colour must be like #e8b090, got {str(self.colour)[:40]!r}")
        object.__setattr__(self, "colour", f"#{self.colour.removeprefix('#').lower()}")

    @property
    def rgb(self) -> Colour:
        """Red, green, blue, 0..255."""
        colour = parse_colour(self.colour)
        assert colour is not None, "checked above"
        return colour


def parse_hint(text: str) -> Hint:
    """``"120,80,#e8b090"`` or ``"120,80,#e8b090,6"`` → a hint. Raises :class:`HintError`."""
    parts = [part.strip() for part in text.split(",")]
    try:
        if len(parts) not in (3, 4):
            raise ValueError
        numbers = [float(part) for part in (*parts[:2], *parts[3:])]
    except ValueError:
        raise HintError(
            f"a hint must be like 120,80,#e8b090 or with a radius, 120,80,#e8b090,6,"
            f" got {text[:60]!r}"
        ) from None
    return Hint(numbers[0], numbers[1], parts[2], *numbers[2:])


def parse_json(data: str | bytes, size: tuple[int, int]) -> list[Hint]:
    """Read hints from JSON; ``size``: the sketch's, which a size in it must equal.

    Raises :class:`HintError` that names the hint, counted from 1.
    """
    hints, said = parse_document(data)
    if said is not None and said != size:
        raise HintError(
            f"the hints are for a picture of {said[0]}×{said[1]}, this one is {size[0]}×{size[1]}"
        )
    return hints


def parse_document(data: str | bytes) -> tuple[list[Hint], tuple[int, int] | None]:
    """Hints from JSON, and the width and height that it says; None if it says none.

    Raises :class:`HintError` that names the hint, counted from 1.
    """
    if len(data) > MAX_JSON_BYTES:
        raise HintError(f"hints: more than {MAX_JSON_BYTES >> 20} MiB of JSON")
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        raise HintError("hints: not valid JSON") from None
    if isinstance(tree, dict):
        entries, size = tree.get("hints"), _parse_size(tree.get("width"), tree.get("height"))
    else:
        entries, size = tree, None
    if not isinstance(entries, list):
        raise HintError('hints: must be a list, or {"hints": [...]}')
    require_few(len(entries))
    return [_parse_entry(number, entry) for number, entry in enumerate(entries, start=1)], size


def _parse_size(width: Any, height: Any) -> tuple[int, int] | None:
    if width is None and height is None:
        return None
    if type(width) is int and type(height) is int and min(width, height) >= 1:
        return width, height
    raise HintError(f"hints: width and height must be pixels, got {width!s:.20}, {height!s:.20}")


def _parse_entry(number: int, entry: Any) -> Hint:
    try:
        if not isinstance(entry, dict):
            raise HintError("must be an object with x, y and colour")
        values = {british(key): value for key, value in entry.items()}
        if unknown := set(values) - {"x", "y", "colour", "radius"}:
            raise HintError(f"unknown key {sorted(unknown)[0][:40]!r}; it has x, y, colour, radius")
        if missing := {"x", "y", "colour"} - set(values):
            raise HintError(f"{sorted(missing)[0]} is missing")
        return Hint(**values)
    except HintError as error:
        raise HintError(f"hint {number}: {error}") from None


def format_json(hints: Sequence[Hint], size: tuple[int, int]) -> str:
    """Hints of a sketch of this width and height, as :func:`parse_json` reads them."""
    entries = [asdict(hint) for hint in hints]
    return json.dumps({"width": size[0], "height": size[1], "hints": entries}, indent=1) + "\n"


def require_few(count: int) -> None:
    """Raise :class:`HintError` if there are more hints than ``MAX_HINTS``."""
    if count > MAX_HINTS:
        raise HintError(f"{count:,} hints; at most {MAX_HINTS:,} are taken")


def require_inside(hints: Sequence[Hint], size: tuple[int, int]) -> None:
    """Raise :class:`HintError` if a hint's centre lies outside a picture of this size."""
    for number, hint in enumerate(hints, start=1):
        if hint.x >= size[0] or hint.y >= size[1]:
            raise HintError(
                f"hint {number} at {hint.x:g}, {hint.y:g} lies outside the picture of"
                f" {size[0]}×{size[1]}"
            )
