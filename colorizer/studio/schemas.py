"""The bodies that routes take, as OpenAPI describes them."""

from collections.abc import Sequence
from typing import Any

from colorizer.hints.hint import DEFAULT_RADIUS_PX, MAX_HINTS, MAX_RADIUS_PX
from colorizer.pictures.decoding import FORMATS
from colorizer.studio.body import HINTS_FIELD, PICTURE_FIELD

BINARY = {"type": "string", "format": "binary"}
PICTURE_FILE = f"The picture's file: {', '.join(FORMATS)}"
PIXELS = {"type": "number", "minimum": 0, "description": "pixels of the upright sketch"}
HINT = {
    "type": "object",
    "required": ["x", "y", "colour"],
    "properties": {
        "x": PIXELS,
        "y": PIXELS,
        "colour": {"type": "string", "pattern": "^#?[0-9a-fA-F]{6}$", "description": "#e8b090"},
        "radius": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": MAX_RADIUS_PX,
            "default": DEFAULT_RADIUS_PX,
            "description": "pixels",
        },
    },
    "additionalProperties": False,
}
HINT_LIST = {"type": "array", "maxItems": MAX_HINTS, "items": HINT}
HINTS_JSON = {
    "type": "object",
    "required": ["hints"],
    "properties": {
        "width": {"type": "integer", "description": "of the sketch; can be left out"},
        "height": {"type": "integer", "description": "of the sketch; can be left out"},
        "hints": HINT_LIST,
    },
}
HINTS_FORM = {
    "description": "Colours at places, for a model with takes_hints at /model. JSON, as text or as"
    ' a file: {"width": 80, "height": 60, "hints": [{"x": 40, "y": 30, "colour": "#e8b090"}]}, or'
    " the list alone; or a painted picture of the sketch's size, or an .ora with a layer named"
    " hints",
    "anyOf": [HINT_LIST, HINTS_JSON, BINARY],
}


HINT_FILES = "application/json, image/png, image/jpeg, image/openraster"


def describe_body(
    description: str, fields: dict[str, Any], media_types: Sequence[str] = ("image/*",)
) -> dict[str, Any]:
    """A body for ``openapi_extra``: a file, or a form with these fields, name → schema."""
    form = {"type": "object", "required": [PICTURE_FIELD], "properties": fields}
    encoding = {HINTS_FIELD: {"contentType": HINT_FILES}}
    content = {
        **{media_type: {"schema": BINARY} for media_type in media_types},
        "multipart/form-data": {"schema": form}
        | ({"encoding": encoding} if HINTS_FIELD in fields else {}),
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


FILE_FIELD = BINARY | {"description": PICTURE_FILE}
PICTURE = describe_body(f"{PICTURE_FILE}; or a form with that file", {PICTURE_FIELD: FILE_FIELD})
SKETCH = describe_body(
    f"{PICTURE_FILE}; or a form with that file, and with hints",
    {PICTURE_FIELD: FILE_FIELD, HINTS_FIELD: HINTS_FORM},
)
HINTS = describe_body(
    "Hints: JSON, an .ora with a layer named hints or a painted picture; or a form with that file",
    {PICTURE_FIELD: BINARY},
    HINT_FILES.split(", "),
)
