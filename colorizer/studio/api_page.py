"""The page at ``/docs``: the OpenAPI schema as HTML without scripts, so that it works offline."""

from collections.abc import Collection, Iterator, Sequence
from html import escape
from typing import Any

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API: {title}</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="studio.css">
</head>
<body>
<header>
  <h1>{title}: API</h1>
  <p>{summary} Errors are JSON with the reason as <code>detail</code>.
  For programs: <a href="openapi.json">openapi.json</a>. Back to <a href="./">the studio</a>.</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""

TYPES = {"boolean": "true, false", "array": "JSON", "object": "JSON", "binary": "file"}


def draw_api_page(schema: dict[str, Any], address: str) -> str:
    """The page for an OpenAPI schema; ``address``: the server's, for the examples."""
    sections = [
        section
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        for section in draw_operation(method, path, operation, address)
    ]
    info = schema["info"]
    return PAGE.format(
        title=escape(info["title"]),
        summary=escape(info.get("summary", "")),
        sections="\n".join(sections),
    )


def draw_operation(
    method: str, path: str, operation: dict[str, Any], address: str
) -> Iterator[str]:
    """The section of one method of a path."""
    yield f'<section class="wide" id="{escape(operation["operationId"])}">'
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{escape(paragraph.replace('``', ''))}</p>"
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {escape(body['description'])}.</p>"
    fields = list_fields(body)
    yield f"<pre>{escape(chr(10).join(draw_examples(path, fields, address)))}</pre>"
    if len(fields) > 1:
        rows = [row for name, schema in fields.items() for row in describe_field(name, schema)]
        yield draw_table(("Form field", "Values", "Default", ""), rows)
    parameters = operation.get("parameters", [])
    if parameters:
        yield draw_table(
            ("Option", "Values", "Default", ""), [describe_parameter(each) for each in parameters]
        )
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in sorted(operation["responses"].items())
    ]
    yield draw_table(("Status", "Body", ""), answers)
    yield "</section>"


def list_fields(body: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of the form that a body can be, name → schema; none without a body."""
    fields: dict[str, Any] = {}
    if body:
        fields = body["content"]["multipart/form-data"]["schema"]["properties"]
    return fields


def describe_field(name: str, schema: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """A row for a form's field, and one for each key of the list of objects that it can hold."""
    default = str(schema.get("default", ""))
    yield name, describe_values(schema), default, schema.get("description", "")
    for kind in schema.get("anyOf", []):
        for key, value in kind.get("items", {}).get("properties", {}).items():
            yield from describe_field(f"{name}[].{key}", value)


def draw_examples(path: str, fields: Collection[str], address: str) -> Iterator[str]:
    """Commands for a shell; ``fields``: of the form that the body can be."""
    name = "dots.json" if path == "/hints" else "sketch.png"
    if fields:
        yield f"curl --data-binary @{name} '{address}{path}'"
        yield f"curl -F file=@{name} '{address}{path}'"
    if "hints" in fields:
        dots = '[{"x": 40, "y": 30, "colour": "#e8b090"}]'
        yield f"curl -F file=@sketch.png -F 'hints={dots}' '{address}{path}'"
    if not fields:
        yield f"curl '{address}{path}'"


def describe_parameter(parameter: dict[str, Any]) -> tuple[str, str, str, str]:
    """A parameter's name, values, default and description."""
    schema = parameter["schema"]
    default = schema.get("default")
    shown = "" if default is None else str(default)
    where = " (in the path)" if parameter["in"] == "path" else ""
    return (
        f"{parameter['name']}{where}",
        describe_values(schema),
        shown.lower() if isinstance(default, bool) else shown,
        parameter.get("description", ""),
    )


def describe_values(schema: dict[str, Any]) -> str:
    """The values that a parameter takes: ``copy, colour``, ``number 0 to 2``."""
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kinds = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    texts = []
    for kind in kinds:
        least, most = kind.get("minimum", kind.get("exclusiveMinimum")), kind.get("maximum")
        limits = f" {least:g} to {most:g}" if most is not None else ""
        if least is not None and most is None:
            limits = f" ≥ {least:g}"
        texts.append(f"{TYPES.get(kind.get('format', kind['type']), kind['type'])}{limits}")
    return " or ".join(dict.fromkeys(texts))


def draw_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; the first column is its rows' heads."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for first, *cells in rows:
        others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row"><code>{escape(first)}</code></th>{others}</tr>')
    return (
        f'<div class="table"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
