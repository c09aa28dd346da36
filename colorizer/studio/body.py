"""The picture in a request's body: the file as it is, or the file of a form (RFC 7578)."""

from email.message import Message
from typing import NamedTuple

USAGE = "curl --data-binary @sketch.png, or curl -F file=@sketch.png"


class FormError(Exception):
    """The form doesn't hold one file alone; the message says what to send."""


class FormPart(NamedTuple):
    """A field of a form."""

    name: str
    is_file: bool
    data: bytes


def extract_picture(body: bytes, content_type: str) -> bytes:
    """The picture's bytes. Raises :class:`FormError` for a form without exactly one file."""
    header = parse_header(content_type)
    if header.get_content_type() != "multipart/form-data":
        return body
    parts = split_form(body, header.get_boundary())
    files = [part for part in parts if part.is_file]
    for part in parts:
        if not part.is_file:
            raise FormError(
                f"form field {part.name!r} isn't a file: options belong to the address, as in"
                f" '/colorize?seed=3', and a file is sent by {USAGE}"
            )
    if len(files) != 1:
        raise FormError(f"{len(files)} files in the form; send one: {USAGE}")
    return files[0].data


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
