"""The page at ``/docs``: the OpenAPI schema as HTML without scripts, so that it works offline."""

from collections.abc import Iterator, Sequence
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
    yield f"<pre>{escape(chr(10).join(draw_examples(path, bool(body), address)))}</pre>"
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


def draw_examples(path: str, has_body: bool, address: str) -> Iterator[str]:
    """Commands for a shell."""
    if has_body:
        yield f"curl --data-binary @sketch.png '{address}{path}'"
        yield f"curl -F file=@sketch.png '{address}{path}'"
    else:
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
        least, most = kind.get("minimum"), kind.get("maximum")
        limits = f" {least:g} to {most:g}" if most is not None else ""
        if least is not None and most is None:
            limits = f" ≥ {least:g}"
        texts.append(f"{'true, false' if kind['type'] == 'boolean' else kind['type']}{limits}")
    return " or ".join(texts)


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
