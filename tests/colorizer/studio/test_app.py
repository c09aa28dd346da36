"""The API over real HTTP on loopback: pictures, errors, limits, and replaced models."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from colorizer.look.artwork import Artwork, Part
from colorizer.model.folder import SAMPLE_NOTE
from colorizer.pictures.decoding import Decoded
from colorizer.runtime import ColorizeOptions, Colorizer
from colorizer.studio.limits import Limits
from tests.colorizer.drawing import draw, ink_alone, painted, png, save_frames
from tests.colorizer.studio.running import Studio, replace_model, running_studio

SKETCH = png(draw(80, 60))


@pytest.fixture(scope="module")
def studio(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    limits = Limits(max_body_bytes=200_000, max_pixels=1_000_000, body_timeout_s=2, workers=1)
    with running_studio(model_folder, tmp_path_factory.mktemp("studio"), limits) as studio:
        yield studio


def test_a_picture_equals_that_of_the_runtime(studio: Studio, colorizer: Colorizer) -> None:
    options = {"seed": 3, "line_strength": 0.5, "palette": "#ff8800,#2244aa", "keep_skin": True}
    response = studio.post(SKETCH, **options)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(response.content)))
    assert np.array_equal(picture, np.asarray(colorizer(SKETCH, ColorizeOptions(**options))))  # type: ignore[arg-type]


def test_every_option_reaches_the_runtime(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ColorizeOptions(
        clean=True,
        opaque=True,
        seed=3,
        palette="#ff8800",
        keep_skin=True,
        line_strength=0.5,
        coloured="colour",
    )
    seen: list[ColorizeOptions] = []
    real = Colorizer.draw_decoded

    def draw_decoded(
        self: Colorizer, decoded: Decoded, options: ColorizeOptions, *others: Any, **named: Any
    ) -> Artwork:
        seen.append(options)
        return real(self, decoded, options, *others, **named)

    monkeypatch.setattr(Colorizer, "draw_decoded", draw_decoded)
    query = {name: value for name, value in asdict(given).items() if value is not None}
    assert studio.post(SKETCH, **query).status_code == 200
    assert seen == [given]


@pytest.mark.parametrize(
    ("query", "media"),
    [
        ({"format": "webp"}, "image/webp"),
        ({"format": "jpg"}, "image/jpeg"),
        ({"format": "ora"}, "image/openraster"),
        ({"layer": "colour"}, "image/png"),
        ({"layer": "lines", "clean": "true"}, "image/png"),
        ({"model": "other"}, "image/png"),
    ],
)
def test_formats_and_layers_equal_those_of_the_runtime(
    studio: Studio, colorizer: Colorizer, query: dict[str, str], media: str
) -> None:
    response = studio.post(SKETCH, **query)
    assert (response.status_code, response.headers["Content-Type"]) == (200, media)
    part: Part = query.get("layer", "picture")  # type: ignore[assignment]
    options = ColorizeOptions(clean="clean" in query)
    expected = colorizer.draw(SKETCH, options).encode(f".{query.get('format', 'png')}", part)
    assert response.content == expected


@pytest.mark.parametrize(
    ("data", "query", "status", "reason"),
    [
        (b"", {}, 400, "empty"),
        (b"hello", {}, 400, "not a picture"),
        (SKETCH[:-40], {}, 400, "broken"),
        (png(Image.new("1", (2000, 2000))), {}, 413, "too large: 2000×2000 px"),
        (b"x" * 200_001, {}, 413, "at most 200000"),
        (SKETCH, {"palette": "red"}, 400, "colours like"),
        (SKETCH, {"palette": ""}, 400, "colours like"),
        (SKETCH, {"format": "ora", "layer": "lines"}, 400, "as layers"),
        (SKETCH, {"seed": -1}, 422, "greater than or equal"),
        (SKETCH, {"line_strength": 3}, 422, "less than or equal"),
        (SKETCH, {"model": "nobody"}, 404, "choose from folder, other"),
        (SKETCH, {"format": "psd"}, 422, "png"),
    ],
)
def test_an_error_response_contains_its_reason(
    studio: Studio, data: bytes, query: dict[str, str], status: int, reason: str
) -> None:
    response = studio.post(data, **query)
    assert response.status_code == status
    assert reason in response.text
    assert "Traceback" not in response.text


def test_a_palette_is_taken_from_a_picture(studio: Studio) -> None:
    picture = Image.new("RGB", (90, 60), "white")
    picture.paste((200, 40, 40), (0, 0, 50, 60))
    picture.paste((40, 60, 200), (50, 0, 70, 60))
    response = requests.post(f"{studio.url}/palette?count=2", png(picture), timeout=10)
    assert response.json() == ["#c82828", "#283cc8"]
    assert studio.post(SKETCH, palette=",".join(response.json())).status_code == 200
    cut_out = picture.convert("RGBA")
    cut_out.paste((0, 255, 0, 0), (0, 0, 50, 60))
    response = requests.post(f"{studio.url}/palette?count=2", png(cut_out), timeout=10)
    assert response.json() == ["#283cc8"]
    grey = requests.post(f"{studio.url}/palette", png(Image.new("L", (9, 9), 90)), timeout=10)
    assert grey.json() == []
    for data, query, status in ((b"hello", "", 400), (png(picture), "?count=13", 422)):
        assert requests.post(f"{studio.url}/palette{query}", data, timeout=10).status_code == status


def test_a_picture_that_is_coloured_already_comes_back_with_a_hint(studio: Studio) -> None:
    cover = png(painted(80, 60))
    response = studio.post(cover)
    assert response.headers["X-Hint"] == "coloured-already"
    with Image.open(io.BytesIO(response.content)) as picture:
        assert picture.tobytes() == painted(80, 60).tobytes()
    response = studio.post(cover, coloured="colour")
    assert response.status_code == 200
    assert studio.post(cover, coloured="color").content == response.content
    assert "X-Hint" not in response.headers
    assert response.content != studio.post(cover).content


def test_a_picture_whose_colours_would_be_transparent_gives_a_hint(studio: Studio) -> None:
    bare = png(ink_alone(draw(80, 60)))
    assert studio.post(bare).headers["X-Hint"] == "paper-is-transparent"
    assert "X-Hint" not in studio.post(bare, opaque="true").headers


def test_a_file_of_several_pictures_gives_its_first_and_their_number(
    studio: Studio, tmp_path: Path
) -> None:
    for name, header in (("doc.tif", "X-Pages"), ("anim.gif", "X-Frames")):
        save_frames(tmp_path / name)
        response = studio.post((tmp_path / name).read_bytes())
        assert (response.status_code, response.headers[header]) == (200, "3")
        with Image.open(tmp_path / name) as first:
            assert Image.open(io.BytesIO(response.content)).size == first.size
    assert not {"X-Pages", "X-Frames"} & set(studio.post(SKETCH).headers)


def test_only_a_model_of_the_sample_is_noted_to_be_a_toy(studio: Studio) -> None:
    models = requests.get(f"{studio.url}/model", timeout=10).json()
    notes = {model["name"]: model["note"] for model in models}
    assert notes == {"folder": None, "other": None, "toy": SAMPLE_NOTE}


def post_raw(studio: Studio, head: str, body: bytes, wait_s: float = 10) -> bytes:
    """Send raw bytes as a request; return the response."""
    address = ("127.0.0.1", int(studio.url.rsplit(":", 1)[1]))
    with socket.create_connection(address, timeout=wait_s) as connection:
        connection.sendall(f"POST /colorize HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        connection.sendall(body)
        return connection.recv(65536)


def test_a_too_long_body_is_refused_by_its_content_length(studio: Studio) -> None:
    assert b" 413 " in post_raw(studio, "Content-Length: 1000000000\r\n", b"x" * 10)


def test_a_chunked_body_is_refused_once_it_is_too_long(studio: Studio) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert b" 413 " in post_raw(studio, "Transfer-Encoding: chunked\r\n", chunk * 4)


def test_a_stalled_body_times_out(studio: Studio) -> None:
    assert b" 408 " in post_raw(studio, "Content-Length: 1000\r\n", b"x" * 10)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 400), ({"Origin": "http://evil.example"}, 403)],
)
def test_requests_of_other_sites_are_refused(
    studio: Studio, headers: dict[str, str], status: int
) -> None:
    response = requests.post(f"{studio.url}/colorize", SKETCH, headers=headers, timeout=10)
    assert response.status_code == status


def test_the_page_loads_nothing_from_other_hosts(studio: Studio) -> None:
    for path in ("", "studio.js", "studio.css"):
        response = requests.get(f"{studio.url}/{path}", timeout=10)
        assert response.status_code == 200
        assert "//" not in response.text.replace("http://www.w3.org", "").replace("// ", "")
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_health_models_and_openapi_are_served(studio: Studio) -> None:
    assert requests.get(f"{studio.url}/health", timeout=10).json()["ok"] is True
    first = requests.get(f"{studio.url}/model", timeout=10).json()[0]
    assert (first["name"], first["image_size"], first["has_variations"]) == ("folder", 32, True)
    assert requests.get(f"{studio.url}/model/folder/grid.png", timeout=10).content == b"grid.png"
    paths = requests.get(f"{studio.url}/openapi.json", timeout=10).json()["paths"]
    assert {"/colorize", "/health", "/model"} <= set(paths)
    assert {"413", "429"} <= set(paths["/colorize"]["post"]["responses"])


def test_requests_beyond_the_queue_get_429(model_folder: Path, tmp_path: Path) -> None:
    limits = Limits(workers=1, max_waiting=2)
    large = png(draw(1500, 1500))
    with (
        running_studio(model_folder, tmp_path, limits) as studio,
        ThreadPoolExecutor(16) as clients,
    ):
        responses = list(clients.map(lambda _: studio.post(large), range(16)))
        statuses = [response.status_code for response in responses]
        assert set(statuses) == {200, 429}
        refused = next(response for response in responses if response.status_code == 429)
        assert refused.headers["Retry-After"]
        assert "try again later" in refused.text
        assert studio.post(SKETCH).status_code == 200


def test_a_new_model_replaces_the_old_one_without_a_failed_request(
    model_folder: Path, tmp_path: Path
) -> None:
    with running_studio(model_folder, tmp_path) as studio:
        statuses: list[int] = []
        is_over = threading.Event()

        def load() -> None:
            while not is_over.is_set() and len(statuses) < 5000:
                statuses.append(studio.post(SKETCH).status_code)

        clients = [threading.Thread(target=load) for _ in range(3)]
        for client in clients:
            client.start()
        first = identity(studio)
        replace_model(studio.folder, "a new card")
        wait_for(lambda: identity(studio) != first)
        assert requests.get(f"{studio.url}/model", timeout=10).json()[0]["card"] == "a new card"
        second = identity(studio)
        replace_model(studio.folder, "broken", onnx=b"no model")
        wait_for(lambda: "folder" in studio.models.load_errors)
        assert identity(studio) == second
        wait_for(lambda: len(statuses) > 10)
        is_over.set()
        for client in clients:
            client.join(30)
        assert set(statuses) == {200}
        health = requests.get(f"{studio.url}/health", timeout=10).json()
        assert health["ok"] is True
        assert "not an ONNX model" in health["complaints"]["folder"]


def test_a_wrong_method_is_answered_by_the_right_one(studio: Studio) -> None:
    for path, allowed in (("colorize", "POST"), ("palette", "POST"), ("model", "GET")):
        method = "GET" if allowed == "POST" else "POST"
        response = requests.request(method, f"{studio.url}/{path}", timeout=10)
        assert (response.status_code, response.headers["Allow"]) == (405, allowed)
        assert f"/{path} takes {allowed}, not {method}" in response.json()["detail"]
    assert requests.get(f"{studio.url}/studio.css", timeout=10).status_code == 200


def identity(studio: Studio) -> str:
    found: str = requests.get(f"{studio.url}/model", timeout=10).json()[0]["identity"]
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_missing_model_is_reported_with_how_to_make_one(tmp_path: Path) -> None:
    from colorizer.studio.models import Models

    models = Models({"folder": str(tmp_path / "none")})
    models.refresh()
    assert models.names == ()
    assert "`dvc repro export` makes models/colorizer" in models.load_errors["folder"]
