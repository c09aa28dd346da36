"""The hints in an OpenRaster file: the layer ``hints``, and its dots if this project wrote it.

Programs save a layer cropped, with its place in the picture. Nothing is unpacked to disk, and what
is read is bounded.
"""

import io
import zipfile
from typing import NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate

from colorizer.base.archive_damage import is_damage
from colorizer.base.errors import HintError
from colorizer.base.zip_entries import read_entry
from colorizer.hints.hint import MAX_JSON_BYTES
from colorizer.pictures.decoding_limits import MAX_MEMBERS

SUFFIX = ".ora"
LAYER_NAME = "hints"
DOTS_MEMBER = "hints.json"
"""Beside the layer, if the hints were given as dots: these dots, as JSON."""
MAX_FILE_BYTES = 256 << 20
MAX_LAYER_BYTES = 64 << 20
"""Of the layer's PNG; what is painted by hand has a hundredth."""
MAX_STACK_BYTES = 1 << 20
_STACK = "stack.xml"
_SIGNATURE = b"PK\x03\x04"
_ENTRY_SIGNATURE = b"PK\x01\x02"
_MAX_OFFSET_PX = 1_000_000


class OraHints(NamedTuple):
    """The layer ``hints`` as the file has it."""

    size: tuple[int, int]
    """The picture's width and height."""
    offset: tuple[int, int]
    """Where the layer's top left pixel is, by x and y; negative outside."""
    png: bytes
    dots: bytes | None
    """JSON."""


def is_zip(data: bytes) -> bool:
    """Whether bytes are a zip, as an .ora is, by their first signs."""
    return data.startswith(_SIGNATURE)


def read_ora(data: bytes) -> OraHints:
    """Read an .ora's layer of hints; of several, the topmost.

    Raises :class:`HintError` if it has none or isn't an .ora, and
    :class:`~colorizer.base.errors.PictureError` for what is damaged, encrypted or too large.
    """
    # zipfile makes an object of each member, however many there are
    if data.count(_ENTRY_SIGNATURE) > MAX_MEMBERS:
        raise HintError(f"the .ora has more than {MAX_MEMBERS} members")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:
        if not is_damage(error):
            raise
        raise HintError("not an .ora, or a damaged one") from None
    with archive:
        stack = _read(archive, _STACK, MAX_STACK_BYTES)
        if stack is None:
            raise HintError(f"not an .ora: a zip without {_STACK}")
        size, layer = _parse_stack(stack)
        png = _read(archive, layer.get("src", ""), MAX_LAYER_BYTES)
        if png is None:
            raise HintError(f"the .ora's layer {LAYER_NAME!r} has no picture")
        offset = _number(layer.get("x", "0")), _number(layer.get("y", "0"))
        return OraHints(size, offset, png, _read(archive, DOTS_MEMBER, MAX_JSON_BYTES))


def _read(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes | None:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        return None
    return read_entry(archive, entry, max_bytes)


def _parse_stack(xml: bytes) -> tuple[tuple[int, int], dict[str, str]]:
    """The picture's size, and the attributes of the topmost layer of this name."""
    image: list[dict[str, str]] = []
    layers: list[dict[str, str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "image":
            image.append(attributes)
        elif tag == "layer" and attributes.get("name", "").strip().casefold() == LAYER_NAME:
            layers.append(attributes)

    def refuse(*_: object) -> None:
        raise HintError(f"{_STACK} has a document type, which isn't read")

    parser = ParserCreate()
    parser.StartElementHandler = start
    # only a document type declares entities, which could grow without bound or name files
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (ExpatError, ValueError) as error:
        if isinstance(error, HintError):
            raise
        raise HintError(f"{_STACK} isn't valid XML") from None
    if not image:
        raise HintError(f"{_STACK} says no size")
    if not layers:
        raise HintError(f"the .ora has no layer named {LAYER_NAME!r}: name the painted one so")
    return (_number(image[0].get("w", "")), _number(image[0].get("h", ""))), layers[0]


def _number(text: str) -> int:
    try:
        value = int(float(text))
    except (ValueError, OverflowError):
        value = _MAX_OFFSET_PX + 1
    if abs(value) > _MAX_OFFSET_PX:
        raise HintError(f"{_STACK}: {text[:20]!r} is no number of pixels")
    return value
