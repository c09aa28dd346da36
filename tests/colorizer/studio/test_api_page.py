"""What the API says to those who call it: its page, forms, and options of another name."""

import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from colorizer.studio.body import FormError, Sent, advise, extract_files
from tests.colorizer.drawing import draw, png
from tests.colorizer.studio.running import Studio, running_studio

SKETCH = png(draw(80, 60))
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def studio(hint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with running_studio(hint_folder, tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture
def sketch_file(tmp_path: Path) -> Path:
    path = tmp_path / "sketch.png"
    path.write_bytes(SKETCH)
    (tmp_path / "dots.json").write_text('[{"x": 40, "y": 30, "colour": "#e8b090"}]')
    return path


def test_the_api_page_lists_every_route_and_option_and_loads_nothing_from_outside(
    studio: Studio,
) -> None:
    page = requests.get(f"{studio.url}/docs", timeout=10)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    schema = requests.get(f"{studio.url}/openapi.json", timeout=10).json()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}</code>" in page.text
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}" in page.text
    fields = ("file", "hints", "hints[].x", "hints[].y", "hints[].colour", "hints[].radius")
    assert [f"<code>{name}</code>" in page.text for name in fields] == [True] * len(fields)
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    assert {"studio.css", "openapi.json", "./"} <= set(links)
    assert not [link for link in links if "//" in link]
    assert "<script" not in page.text
    for link in links:
        assert requests.get(f"{studio.url}/{link}", timeout=10).status_code == 200
    front = requests.get(studio.url, timeout=10).text
    assert 'href="docs"' in front


def test_the_examples_of_the_api_page_run(studio: Studio, sketch_file: Path) -> None:
    page = requests.get(f"{studio.url}/docs", timeout=10).text
    examples = [
        line for block in re.findall(r"<pre>(.*?)</pre>", page, re.S) for line in block.split("\n")
    ]
    commands = [html.unescape(line).replace("{name}", "folder") for line in examples]
    assert len(commands) == 10
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", f"{command} --fail --silent --max-time 20"],
            cwd=sketch_file.parent,
            capture_output=True,
        )
        assert (done.returncode, bool(done.stdout)) == (0, True), command


def test_the_file_of_a_form_is_coloured_like_a_body(studio: Studio) -> None:
    plain = studio.post(SKETCH, seed=3).content
    response = requests.post(
        f"{studio.url}/colorize?seed=3", files={"file": ("ein Bild.png", SKETCH)}, timeout=20
    )
    assert (response.status_code, response.content) == (200, plain)
    colours = requests.post(f"{studio.url}/palette", files={"file": SKETCH}, timeout=20)
    assert colours.json() == requests.post(f"{studio.url}/palette", SKETCH, timeout=20).json()


@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\r", b"\r\n\r\n--", b"-"])
def test_a_file_in_a_form_keeps_every_byte(ending: bytes) -> None:
    data = b"\r\n\r\n" + bytes(range(256)) + b"--x" + ending
    form = b"preamble\r\n" + FORM + data + b"\r\n--x--\r\nepilogue"
    assert extract_files(form, "multipart/form-data; boundary=x") == Sent(data)


@pytest.mark.parametrize(
    ("form", "kind", "reason"),
    [
        (FORM + b"a", "multipart/form-data; boundary=x", "incomplete"),
        (FORM + b"a\r\n--x--", "multipart/form-data", "without its boundary"),
        (FORM + b"a\r\n--x--", "multipart/form-data; boundary=y", "incomplete"),
        (b"", "multipart/form-data; boundary=x", "incomplete"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no 'file' in the form"),
        (
            FORM + b"a\r\n" + FORM + b"b\r\n--x--",
            "multipart/form-data; boundary=x",
            "'file' is given more than once",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="seed"\r\n\r\n3\r\n'
            + FORM
            + b"\r\n--x--",
            "multipart/form-data; boundary=x",
            "no form field 'seed'; known: file; options belong to the address",
        ),
        (b"--x\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", "no form field ''"),
        (
            FORM.replace(b'; filename="a.png"', b"") + b"a\r\n--x--",
            "multipart/form-data; boundary=x",
            "'file' isn't a file",
        ),
        (
            FORM.replace(b'"file"', b'"hints"') + b"[]\r\n--x--",
            "multipart/form-data; boundary=x",
            "no form field 'hints'; known: file",
        ),
    ],
)
def test_a_form_without_exactly_one_file_is_refused_with_what_to_send(
    form: bytes, kind: str, reason: str
) -> None:
    with pytest.raises(FormError, match=re.escape(reason)):
        extract_files(form, kind)


def test_a_form_can_have_hints_where_they_are_taken() -> None:
    kind = "multipart/form-data; boundary=x"
    text = b'--x\r\nContent-Disposition: form-data; name="hints"\r\n\r\n'
    for hints in (text, FORM.replace(b'"file"', b'"hints"')):
        form = hints + b"[]\r\n" + FORM + b"a\r\n--x--"
        assert extract_files(form, kind, ["hints"]) == Sent(b"a", b"[]")
        with pytest.raises(FormError, match="'hints' is empty"):
            extract_files(form.replace(b"[]", b" "), kind, ["hints"])


@pytest.mark.parametrize(
    "broken", [b"hello", b"\xff\xd8\xff\xe0\0\x10JFIF\0", bytes(9), SKETCH[:90]]
)
def test_a_broken_file_without_signs_of_curls_data_gets_no_advice(broken: bytes) -> None:
    kind = "application/x-www-form-urlencoded"
    assert advise(broken, kind) == ""
    assert "--data-binary" in advise(SKETCH.translate(None, b"\r\n\0"), kind)


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ("-F file=@sketch.png", 200, ""),
        ("-F seed=3 -F file=@sketch.png", 400, "options belong to the address"),
        (
            "-F file=@sketch.png -F other=@sketch.png",
            400,
            "no form field 'other'; known: file, hints",
        ),
        ("--data-binary @sketch.png", 200, ""),
        (
            "-d @sketch.png",
            400,
            "--data (-d) changes a file's bytes: send it by curl --data-binary",
        ),
        ('--json {"image":"iVBOR"}', 400, "the picture's file itself, not application/json"),
        ("-X POST", 400, "the body is empty"),
    ],
)
def test_curl_is_understood_or_told_what_to_send(
    studio: Studio, sketch_file: Path, options: str, status: int, reason: str
) -> None:
    command = ["curl", "--silent", "--write-out", "%{http_code}", *options.split()]
    done = subprocess.run(
        [*command, f"{studio.url}/colorize"],
        cwd=sketch_file.parent,
        capture_output=True,
        timeout=30,
    )
    assert done.stdout[-3:] == str(status).encode()
    assert reason in done.stdout[:-3].decode("latin-1")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("colorize?sed=3", "no option 'sed'; known: model, clean, opaque, seed, palette"),
        ("colorize?seed=1&seed=2", "option seed is given more than once"),
        ("palette?colours=3", "no option 'colours'; known: count"),
        ("health?verbose", "there are none here"),
        ("docs?x=1", "there are none here"),
    ],
)
def test_query_names_that_the_route_does_not_have_are_refused(
    studio: Studio, path: str, reason: str
) -> None:
    if path.startswith(("colorize", "palette")):
        response = requests.post(f"{studio.url}/{path}", SKETCH, timeout=10)
    else:
        response = requests.get(f"{studio.url}/{path}", timeout=10)
    assert response.status_code == 400
    assert reason in response.json()["detail"]
