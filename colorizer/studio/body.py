"""The files in a request's body: a picture as it is, or a form's fields (RFC 7578)."""

from collections.abc import Sequence
from email.message import Message
from typing import NamedTuple

PICTURE_FIELD = "file"
HINTS_FIELD = "hints"
USAGE = "curl --data-binary @sketch.png, or curl -F file=@sketch.png"


class FormError(Exception):
    """The form doesn't hold what the route takes; the message says what to send."""


class FormPart(NamedTuple):
    """A field of a form."""

    name: str
    is_file: bool
    data: bytes


class Sent(NamedTuple):
    """What a request's body holds."""

    picture: bytes
    hints: bytes | None = None
    """JSON or a picture; None if there are none."""


def extract_files(body: bytes, content_type: str, others: Sequence[str] = ()) -> Sent:
    """The picture, and the hints if ``others``, fields that a form can have besides, names them.

    Raises :class:`FormError` for a form without its file, with a field of another name or with one
    twice, and for hints without a byte.
    """
    header = parse_header(content_type)
    if header.get_content_type() != "multipart/form-data":
        return Sent(body)
    known = (PICTURE_FIELD, *others)
    fields: dict[str, bytes] = {}
    for part in split_form(body, header.get_boundary()):
        require_known(part, known)
        if part.name in fields:
            raise FormError(f"form field {part.name!r} is given more than once")
        fields[part.name] = part.data
    if PICTURE_FIELD not in fields:
        raise FormError(f"no {PICTURE_FIELD!r} in the form; send the picture by {USAGE}")
    hints = fields.get(HINTS_FIELD)
    if hints is not None and not hints.strip():
        raise FormError(f"form field {HINTS_FIELD!r} is empty: leave it out if there are no hints")
    return Sent(fields[PICTURE_FIELD], hints)


def require_known(part: FormPart, known: Sequence[str]) -> None:
    """Raise :class:`FormError` for a field that isn't known, or text in place of the picture."""
    if part.name not in known:
        options = (
            "" if part.is_file else "; options belong to the address, as in '/colorize?seed=3'"
        )
        raise FormError(f"no form field {part.name[:40]!r}; known: {', '.join(known)}{options}")
    if part.name == PICTURE_FIELD and not part.is_file:
        raise FormError(f"form field {part.name!r} isn't a file; a file is sent by {USAGE}")


def split_form(body: bytes, boundary: str | None) -> list[FormPart]:
    """The form's fields. Raises :class:`FormError` if it is incomplete or has no boundary."""
    if not boundary:
        raise FormError(f"multipart/form-data without its boundary; send the file by {USAGE}")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    _, *sections = (b"\r\n" + body).split(delimiter)
    if not sections or not sections[-1].startswith(b"--"):
        raise FormError("the form is incomplete: its last boundary is missing")
    return [parse_part(section) for section in sections[:-1]]


def parse_part(section: bytes) -> FormPart:
    """A field's name and bytes, from what is between two boundaries."""
    head, _, data = section.partition(b"\r\n\r\n")
    fields = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    header = parse_header(fields.get("content-disposition", ""), "content-disposition")
    name = str(header.get_param("name", "", "content-disposition"))
    is_file = header.get_filename() is not None
    return FormPart(name, is_file, data)


def parse_header(value: str, name: str = "content-type") -> Message:
    """A message that has this header alone, to read the header's parameters."""
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message


def advise(body: bytes, content_type: str) -> str:
    """What to send instead of a body that isn't a readable picture; empty if nothing is known."""
    kind = parse_header(content_type).get_content_type()
    # curl's --data and --data-ascii remove line ends and zeros, and this type is curl's default
    is_stripped = not body.isascii() and not set(b"\r\n\0") & set(body)
    if kind == "application/x-www-form-urlencoded" and is_stripped:
        return f"curl's --data (-d) changes a file's bytes: send it by {USAGE}"
    if content_type and (kind == "application/json" or kind.startswith("text/")):
        return f"the body is to be the picture's file itself, not {kind}: {USAGE}"
    return ""
