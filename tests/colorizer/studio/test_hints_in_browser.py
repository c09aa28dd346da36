"""Hints painted on the page in a real Chromium: by mouse, touch, pen and keyboard."""

import base64
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, CDPSession, FilePayload, Page, Route

from tests.colorizer.drawing import draw, png
from tests.colorizer.studio.conftest import CHROMIUM
from tests.colorizer.studio.running import Studio, running_studio

SCREENSHOTS_FOLDER = os.environ.get("SCREENSHOTS")
SIZE = (256, 192)
IN_RING = (128, 60)
OUTSIDE_RING = (20, 170)
ON_LINE = (10, 96)
RED = "#c02020"
RED_RGB = (192, 32, 32)
# Playwright doesn't see what is in a form's files
RECORD_HINTS = """
    const send = fetch;
    window.sent = [];
    window.fetch = (address, options) => {
        if (options?.body instanceof FormData) sent.push(JSON.parse(options.body.get("hints")));
        return send(address, options);
    };"""
NEAR = 12  # of 255: what the model's pixels leave of a colour
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)"),
]

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def studio(
    hint_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("studio")
    with running_studio(hint_folder, home, other_folder=model_folder) as studio:
        yield studio


class Canvas(NamedTuple):
    """The page, with what the tests do on its canvas. Places are pixels of the sketch."""

    page: Page
    url: str

    def upload(self, picture: bytes, name: str = "sketch.png") -> None:
        file = FilePayload(name=name, mimeType="application/octet-stream", buffer=picture)
        before = self.page.locator("#after").get_attribute("src")
        self.page.locator("#file").set_input_files(file)
        self.page.locator(f'#after[src]:not([src="{before}"])').wait_for(state="attached")
        self.page.get_by_text("Coloured in").wait_for()
        self.wait()
        self.page.locator("#canvas").scroll_into_view_if_needed()

    def wait(self) -> None:
        """Until the picture is that of the hints."""
        self.page.locator("#result[aria-busy=false]").wait_for(state="attached")

    def place(self, x: float, y: float, size: tuple[int, int] = SIZE) -> tuple[float, float]:
        """The middle of a pixel in the window, while the whole picture is shown."""
        box = self.page.locator("#canvas").bounding_box()
        assert box is not None
        scale = min(box["width"] / size[0], box["height"] / size[1])
        left = box["x"] + (box["width"] - size[0] * scale) / 2
        top = box["y"] + (box["height"] - size[1] * scale) / 2
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    def press(self, x: float, y: float, button: Any = "left") -> None:
        self.page.mouse.click(*self.place(x, y), button=button)
        self.wait()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=8)
        self.page.mouse.up()
        self.wait()

    def use_colour(self, colour: str) -> None:
        self.page.locator("#hint-colour").fill(colour)

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.wait()

    def key(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.wait()

    @property
    def said(self) -> str:
        return str(self.page.locator("#said").text_content())

    @property
    def num_hints(self) -> int:
        return int(str(self.page.locator("#count").text_content()).split()[0])

    def picture(self) -> Pixels:
        """The coloured picture that is shown, hints aside."""
        url = self.page.evaluate(
            """async () => {
                const image = document.querySelector("#after");
                await image.decode();
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
                canvas.getContext("2d").drawImage(image, 0, 0);
                return canvas.toDataURL();
            }"""
        )
        return pixels(base64.b64decode(url.partition(",")[2]))

    def download(self, act: Callable[[], object]) -> tuple[str, bytes]:
        with self.page.expect_download() as download:
            act()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def sent(self) -> list[dict[str, Any]]:
        """The hints of each request that had some."""
        return list(self.page.evaluate("window.sent"))

    def save(self) -> tuple[str, bytes]:
        return self.download(lambda: self.click("Save hints"))

    def load(self, name: str, data: bytes) -> None:
        file = FilePayload(name=name, mimeType="application/octet-stream", buffer=data)
        with self.page.expect_response("**/hints"):
            self.page.locator("#hints-file").set_input_files(file)
        self.page.wait_for_timeout(50)  # until its JSON is read
        self.wait()


@pytest.fixture
def canvas(browser: Browser, studio: Studio, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    """The opened page with a sketch; it must log no errors. ``phone`` as a param: a small one."""
    is_phone = getattr(request, "param", "") == "phone"
    size = {"width": 390, "height": 844} if is_phone else {"width": 1200, "height": 900}
    context = browser.new_context(viewport=size, is_mobile=is_phone, has_touch=is_phone)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(15_000)
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.add_init_script(RECORD_HINTS)
    page.goto(studio.url)
    page.get_by_text("px").first.wait_for()
    canvas = Canvas(page, studio.url)
    canvas.upload(sketch())
    canvas.use_colour(RED)
    yield canvas
    if SCREENSHOTS_FOLDER:
        page.screenshot(path=f"{SCREENSHOTS_FOLDER}/{request.node.name}.png", full_page=True)
    context.close()
    assert logged == [] or all("grid.png" in line or "400" in line for line in logged)


def sketch(size: tuple[int, int] = SIZE) -> bytes:
    return png(draw(*size))


def pixels(picture: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def ask(url: str, picture: bytes, *hints: dict[str, Any], **query: str) -> bytes:
    """The coloured picture as the API gives it."""
    form: dict[str, Any] = {"file": ("sketch.png", picture)}
    if hints:
        form["hints"] = (None, json.dumps({"hints": hints}))
    answer = requests.post(f"{url}/colorize", files=form, params=query, timeout=60)
    assert answer.ok, answer.text
    return answer.content


def at(picture: Pixels, place: tuple[int, int]) -> npt.NDArray[np.int64]:
    return np.asarray(picture[place[1], place[0]], np.int64)


def differs(first: Pixels, second: Pixels, place: tuple[int, int]) -> bool:
    return bool(np.abs(at(first, place) - at(second, place)).max() > NEAR)


def test_a_dot_colours_its_place_and_can_be_undone_done_again_and_removed(canvas: Canvas) -> None:
    plain = canvas.picture()
    canvas.press(*IN_RING)
    assert canvas.said == "Hint 1 placed at 128, 60."
    dotted = canvas.picture()
    assert np.abs(at(dotted, IN_RING) - RED_RGB).max() <= NEAR
    assert differs(plain, dotted, IN_RING)
    hint = {"x": IN_RING[0], "y": IN_RING[1], "colour": RED, "radius": 3}
    near = pixels(ask(canvas.url, sketch(), hint)).astype(int)
    assert np.abs(near - dotted).mean() < 1  # the press is within a pixel of the place

    canvas.click("Undo")
    assert np.array_equal(canvas.picture(), plain)
    canvas.click("Redo")
    assert np.array_equal(canvas.picture(), dotted)
    canvas.key("Control+z")
    assert np.array_equal(canvas.picture(), plain)
    canvas.key("Control+Shift+Z")
    assert np.array_equal(canvas.picture(), dotted)
    canvas.key("Control+z", "Control+y")
    assert np.array_equal(canvas.picture(), dotted)

    canvas.press(*OUTSIDE_RING, button="right")
    assert canvas.said == f"There is no hint at {OUTSIDE_RING[0]}, {OUTSIDE_RING[1]}."
    canvas.press(*IN_RING, button="right")
    assert canvas.said == "Hint 1 removed."
    assert np.array_equal(canvas.picture(), plain)
    canvas.key("Control+z", "Control+z")
    canvas.press(*OUTSIDE_RING)
    canvas.key("Control+y")  # what was undone before a new dot is gone
    assert (canvas.num_hints, canvas.said) == (1, "There is nothing to do again.")


def test_a_dot_on_a_dot_gives_it_another_colour(canvas: Canvas) -> None:
    canvas.press(*IN_RING)
    red = canvas.picture()
    canvas.use_colour("#2244aa")
    canvas.press(IN_RING[0] + 2, IN_RING[1])
    assert (canvas.num_hints, canvas.said) == (1, "Hint 1 is #2244aa now.")
    assert canvas.sent()[-1]["hints"] == [{**canvas.sent()[0]["hints"][0], "colour": "#2244aa"}]
    canvas.click("Undo")
    assert np.array_equal(canvas.picture(), red)
    canvas.press(IN_RING[0] + 8, IN_RING[1])
    assert canvas.num_hints == 2


def test_cleaning_an_example_doesnt_clean_the_next_sketch(canvas: Canvas) -> None:
    clean = canvas.page.get_by_label("Clean a photo or scan first")
    canvas.page.locator("[data-example$='scan.png']").click()
    canvas.page.get_by_text("Coloured in").wait_for()
    assert clean.is_checked()
    canvas.upload(sketch())
    assert not clean.is_checked()
    clean.check()
    canvas.upload(sketch((96, 96)))
    assert clean.is_checked()


def test_a_stroke_is_a_row_of_dots_and_one_step_of_undo(canvas: Canvas) -> None:
    canvas.drag((90, 70), (150, 70))
    assert re.fullmatch(r"Hint 1 painted from (89|90), 70 to 14[789], 70\.", canvas.said)
    _, saved = canvas.save()
    dots = json.loads(saved)["hints"]
    assert 20 <= len(dots) <= 40
    assert {(round(dot["y"]), dot["colour"], dot["radius"]) for dot in dots} == {(70, RED, 3)}
    canvas.click("Clear all")
    assert canvas.num_hints == 0
    canvas.click("Undo")
    assert canvas.num_hints == 1
    canvas.click("Undo")
    assert canvas.num_hints == 0


def test_a_press_beside_the_picture_paints_nothing(canvas: Canvas) -> None:
    canvas.press(-20, 60)
    assert canvas.num_hints == 0
    canvas.drag((-20, 60), (40, 60))  # into it
    _, saved = canvas.save()
    assert min(dot["x"] for dot in json.loads(saved)["hints"]) >= 0


def test_the_eyedropper_picks_from_the_picture_and_from_the_sketch(canvas: Canvas) -> None:
    chosen = canvas.page.locator("#hint-colour")
    canvas.click("Pick a colour")
    canvas.press(*IN_RING)
    assert chosen.input_value() == "#{:02x}{:02x}{:02x}".format(*at(canvas.picture(), IN_RING))
    assert canvas.num_hints == 0
    canvas.page.locator("#shown").select_option("sketch")
    canvas.page.keyboard.down("Alt")
    canvas.press(*ON_LINE)
    canvas.page.keyboard.up("Alt")
    assert chosen.input_value() == "#2828a0"
    canvas.press(*IN_RING)
    assert canvas.num_hints == 1
    assert canvas.page.get_by_role("button", name="Colour #2828a0").count() == 1


def test_what_is_left_white_is_white(canvas: Canvas) -> None:
    assert at(canvas.picture(), IN_RING).min() < 255 - NEAR
    canvas.click("Leave white")
    canvas.press(*IN_RING)
    assert at(canvas.picture(), IN_RING).min() >= 255 - NEAR


def test_hints_are_saved_loaded_and_kept_when_the_page_is_loaded_anew(canvas: Canvas) -> None:
    plain = canvas.picture()
    canvas.drag((90, 70), (150, 70))
    painted = canvas.picture()
    name, saved = canvas.save()
    assert name == "sketch.hints.json"
    assert (json.loads(saved)["width"], json.loads(saved)["height"]) == SIZE

    canvas.page.reload()
    canvas.page.get_by_text("px").first.wait_for()
    canvas.upload(sketch())
    assert canvas.num_hints == 1
    assert np.array_equal(canvas.picture(), painted)
    canvas.click("Clear all")
    assert np.array_equal(canvas.picture(), plain)

    canvas.load(name, saved)
    assert canvas.said == "Loaded: 1 hint."
    assert np.array_equal(canvas.picture(), painted)


def test_hints_of_another_size_and_bad_files_are_refused(canvas: Canvas) -> None:
    canvas.press(*IN_RING)
    other = b'{"width": 9, "height": 7, "hints": [{"x": 1, "y": 1, "colour": "#102030"}]}'
    for data, text in ((other, "they are for a picture of 9×7"), (b"{", "The hints can't be")):
        canvas.load("a.json", data)
        canvas.page.get_by_text(text).wait_for()
    assert canvas.num_hints == 1


def test_another_sketch_starts_without_hints(canvas: Canvas) -> None:
    canvas.press(*IN_RING)
    canvas.upload(sketch((200, 150)))
    assert canvas.num_hints == 0
    canvas.key("Control+z")
    assert (canvas.num_hints, canvas.said) == (0, "There is nothing to undo.")
    canvas.upload(sketch())
    assert canvas.num_hints == 1  # those of this sketch


def test_downloads_have_the_hints_and_those_of_layers_are_loaded(canvas: Canvas) -> None:
    canvas.press(*IN_RING)
    dotted = canvas.picture()
    hints = json.loads(canvas.save()[1])["hints"]
    _, picture = canvas.download(lambda: canvas.page.get_by_role("link", name="PNG").click())
    assert picture == ask(canvas.url, sketch(), *hints)
    _, layers = canvas.download(lambda: canvas.click("Layers (.ora)"))
    stack = zipfile.ZipFile(io.BytesIO(layers)).read("stack.xml").decode()
    assert re.search('name="[Hh]ints"', stack)
    _, colours = canvas.download(lambda: canvas.click("Colours only"))
    assert colours == ask(canvas.url, sketch(), *hints, layer="colour")
    canvas.click("Clear all")
    canvas.load("coloured.ora", layers)
    assert (canvas.num_hints, canvas.said) == (1, "Loaded: 1 hint.")
    assert np.array_equal(canvas.picture(), dotted)


def test_all_of_it_by_keyboard(canvas: Canvas) -> None:
    plain = canvas.picture()
    canvas.page.locator("#hide").focus()
    for _ in range(10):
        canvas.page.keyboard.press("Tab")
        if canvas.page.evaluate("document.activeElement.id") == "canvas":
            break
    canvas.key(*["ArrowUp"] * 5)
    where = re.fullmatch(r"(\d+), (\d+)", canvas.said)
    assert where is not None
    place = (int(where[1]), int(where[2]))
    assert place[0] == SIZE[0] // 2
    assert place[1] < SIZE[1] // 2
    canvas.key("Enter")
    assert canvas.said == f"Hint 1 placed at {place[0]}, {place[1]}."
    dotted = canvas.picture()
    assert np.abs(at(dotted, place) - RED_RGB).max() <= NEAR
    canvas.key("ArrowRight", "ArrowLeft")
    assert canvas.said.endswith(", hint 1")
    canvas.key("Delete")
    assert canvas.said == "Hint 1 removed."
    assert np.array_equal(canvas.picture(), plain)
    canvas.key("Space")
    assert np.array_equal(canvas.picture(), dotted)
    canvas.key("]")
    assert canvas.said == "Brush radius: 4 px."
    canvas.key("[", "[")
    assert canvas.said == "Brush radius: 2 px."
    canvas.key("x")
    assert canvas.page.locator("#hide").get_attribute("aria-pressed") == "true"
    assert np.array_equal(canvas.picture(), dotted)
    canvas.key("+")
    assert canvas.said.startswith("Zoom: ")
    canvas.key("w", "Enter")
    assert (canvas.num_hints, canvas.said) == (1, "Hint 1 is #ffffff now.")


def test_zoom_and_pan_move_the_places(canvas: Canvas) -> None:
    page = canvas.page
    page.mouse.move(*canvas.place(*IN_RING))
    page.mouse.wheel(0, -500)  # about the place, which stays where it is
    canvas.press(*IN_RING)
    assert canvas.said == "Hint 1 placed at 128, 60."
    page.mouse.move(*canvas.place(*IN_RING))
    page.keyboard.down("Space")
    page.mouse.down()
    x, y = canvas.place(*IN_RING)
    page.mouse.move(x + 50, y + 30)
    page.mouse.up()
    page.keyboard.up("Space")
    assert canvas.num_hints == 1
    page.mouse.click(x + 50, y + 30, button="right")
    assert canvas.said == "Hint 1 removed."


def test_hidden_hints_and_the_choice_of_what_is_shown_change_the_canvas_alone(
    canvas: Canvas,
) -> None:
    canvas.press(*IN_RING)
    canvas.page.mouse.move(0, 0)
    picture = canvas.picture()
    x, y = canvas.place(*IN_RING)
    around = {"x": x - 12, "y": y - 12, "width": 24, "height": 24}

    def look() -> Pixels:
        return pixels(canvas.page.screenshot(clip=around))  # type: ignore[arg-type]

    with_hints = look()
    canvas.click("Hide hints")
    shots = [look()]
    for choice in ("sketch", "colours"):
        canvas.page.locator("#shown").select_option(choice)
        shots.append(look())
    assert np.ptp(with_hints) > 100  # a dark and a white outline
    assert np.ptp(shots[0], axis=(0, 1)).max() < 100
    assert shots[1].min() == 255  # paper
    assert np.array_equal(shots[0], shots[2])
    assert np.array_equal(canvas.picture(), picture)


def touch(session: CDPSession, kind: str, *places: tuple[float, float]) -> None:
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.mark.parametrize("canvas", ["phone"], indirect=True)
def test_touch_paints_pinches_and_removes_by_a_long_press(canvas: Canvas) -> None:
    plain = canvas.picture()
    session = canvas.page.context.new_cdp_session(canvas.page)
    canvas.page.touchscreen.tap(*canvas.place(*IN_RING))
    canvas.wait()
    assert canvas.num_hints == 1
    assert np.abs(at(canvas.picture(), IN_RING) - RED_RGB).max() <= NEAR

    scrolled = canvas.page.evaluate("scrollY")
    touch(session, "touchStart", canvas.place(60, 100))
    for y in range(100, 140, 5):
        touch(session, "touchMove", canvas.place(60, y))
    touch(session, "touchEnd")
    canvas.wait()
    assert canvas.num_hints == 2
    assert canvas.page.evaluate("scrollY") == scrolled

    touch(session, "touchStart", canvas.place(*IN_RING))
    canvas.page.wait_for_timeout(700)
    touch(session, "touchEnd")
    canvas.wait()
    assert (canvas.num_hints, canvas.said) == (1, "Hint 1 removed.")
    assert not differs(canvas.picture(), plain, IN_RING)

    before = canvas.page.locator("#canvas").screenshot()
    left, right = canvas.place(110, 90), canvas.place(140, 90)
    touch(session, "touchStart", left)
    touch(session, "touchStart", left, right)
    touch(session, "touchMove", (left[0] - 60, left[1]), (right[0] + 60, right[1]))
    touch(session, "touchEnd")
    canvas.page.wait_for_timeout(50)
    assert canvas.num_hints == 1
    assert not np.array_equal(pixels(before), pixels(canvas.page.locator("#canvas").screenshot()))


@pytest.mark.parametrize("canvas", ["phone"], indirect=True)
def test_a_palm_paints_nothing_while_the_pen_does(canvas: Canvas) -> None:
    session = canvas.page.context.new_cdp_session(canvas.page)

    def pen(kind: str, x: float, y: float) -> None:
        left, top = canvas.place(x, y)
        event = {"type": kind, "x": left, "y": top, "button": "left", "buttons": 1}
        more = {"clickCount": 1, "pointerType": "pen"}
        session.send("Input.dispatchMouseEvent", event | more)

    pen("mousePressed", *IN_RING)
    pen("mouseMoved", IN_RING[0] + 20, IN_RING[1])
    touch(session, "touchStart", canvas.place(*OUTSIDE_RING))
    touch(session, "touchEnd")
    pen("mouseMoved", IN_RING[0] + 40, IN_RING[1])
    pen("mouseReleased", IN_RING[0] + 40, IN_RING[1])
    canvas.wait()
    assert canvas.num_hints == 1
    assert canvas.said.startswith("Hint 1 painted from 128, 60 to 16")


@pytest.mark.parametrize("canvas", ["phone"], indirect=True)
def test_a_phone_shows_all_tools_within_the_page(canvas: Canvas) -> None:
    canvas.press(*IN_RING)
    width, inner = canvas.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner
    small = canvas.page.evaluate("""
        [...document.querySelectorAll("#painting :is(button, .button, select, input)")]
            .filter((e) => e.offsetParent && !e.matches(".hidden"))
            .filter((e) => Math.min(e.offsetHeight, e.offsetWidth) < 44)
            .map((e) => e.outerHTML)""")
    assert small == []
    nameless = canvas.page.evaluate("""
        [...document.querySelectorAll("#painting :is(button, input, select, canvas)")]
            .filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel))
            .map((e) => e.outerHTML)""")
    assert nameless == []


def test_only_the_newest_hints_are_asked_for(canvas: Canvas) -> None:
    held: list[Route] = []
    canvas.page.route("**/colorize*", lambda route: held.append(route))
    for x in range(100, 150, 10):
        canvas.page.mouse.click(*canvas.place(x, 60))
    canvas.page.wait_for_timeout(100)
    assert (len(held), [len(each["hints"]) for each in canvas.sent()]) == (1, [1])  # not five
    held[0].continue_()
    for _ in range(100):
        if len(held) > 1:
            break
        canvas.page.wait_for_timeout(20)
    assert [len(each["hints"]) for each in canvas.sent()] == [1, 5]
    held[1].continue_()
    canvas.wait()
    assert len(held) == 2
    canvas.page.unroute_all()
    assert canvas.num_hints == 5


def test_a_large_sketch_has_a_reduced_preview_and_then_its_full_size(canvas: Canvas) -> None:
    size = (1536, 1152)
    canvas.upload(sketch(size))
    canvas.page.get_by_text("This is a preview").wait_for(state="detached")
    canvas.wait()
    asked: list[Route] = []

    def hold_the_second(route: Route) -> None:
        asked.append(route)
        if len(asked) != 2:
            route.continue_()

    canvas.page.route("**/colorize*", hold_the_second)
    canvas.page.mouse.click(*canvas.place(768, 300, size))
    canvas.page.get_by_text("This is a preview").wait_for()
    reduced = canvas.sent()[0]
    assert (reduced["width"], reduced["height"]) == (1024, 768)
    assert reduced["hints"][0]["x"] == pytest.approx(512, abs=2)
    assert canvas.picture().shape[:2] == (768, 1024)
    for _ in range(100):
        if len(asked) == 2:
            break
        canvas.page.wait_for_timeout(100)
    asked[1].continue_()
    canvas.page.get_by_text("This is a preview").wait_for(state="detached")
    canvas.wait()
    assert canvas.picture().shape[:2] == (1152, 1536)
    _, whole = canvas.sent()
    assert (whole["width"], whole["height"]) == (1536, 1152)
    assert whole["hints"][0]["x"] == pytest.approx(768, abs=3)


def test_an_error_is_shown_and_what_was_painted_stays(canvas: Canvas) -> None:
    canvas.page.route(
        "**/colorize*", lambda route: route.fulfill(status=400, json={"detail": "no ink left"})
    )
    canvas.press(*IN_RING)
    canvas.page.get_by_text("The sketch can't be coloured: no ink left").wait_for()
    assert canvas.num_hints == 1
    canvas.page.unroute_all()
    canvas.press(*OUTSIDE_RING)
    canvas.page.get_by_text("Coloured in").wait_for()
    assert np.abs(at(canvas.picture(), IN_RING) - RED_RGB).max() <= NEAR


def test_a_model_without_hints_has_no_tools(canvas: Canvas) -> None:
    unpainted = canvas.picture()
    canvas.press(*IN_RING)
    dotted = canvas.picture()
    assert differs(unpainted, dotted, IN_RING)
    canvas.page.locator("#model").select_option("other")
    canvas.wait()
    assert canvas.page.locator("#painting").is_hidden()
    canvas.page.get_by_text("This model takes no hints").wait_for()
    assert canvas.page.locator("#compare").is_visible()
    plain = pixels(ask(canvas.url, sketch(), model="other"))
    assert np.array_equal(canvas.picture(), plain)
    canvas.page.locator("#model").select_option("folder")
    canvas.wait()
    assert canvas.page.get_by_text("This model takes no hints").is_hidden()
    assert canvas.num_hints == 1
    assert np.array_equal(canvas.picture(), dotted)


def test_places_of_a_turned_photo_are_those_of_the_upright_picture(canvas: Canvas) -> None:
    turned = draw(*SIZE).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif, quality=95)
    canvas.upload(buffer.getvalue(), "photo.jpg")
    assert canvas.page.locator("#undrawn").is_hidden()
    canvas.press(*IN_RING)
    saved = json.loads(canvas.save()[1])
    assert (saved["width"], saved["height"]) == SIZE
    assert np.abs(at(canvas.picture(), IN_RING) - RED_RGB).max() <= NEAR


def test_a_file_that_browsers_cannot_draw_is_painted_on(canvas: Canvas) -> None:
    buffer = io.BytesIO()
    draw(200, 150).save(buffer, "TIFF")
    canvas.upload(buffer.getvalue(), "sketch.tif")
    x, y = canvas.place(100, 50, (200, 150))
    canvas.page.mouse.click(x, y)
    canvas.wait()
    assert canvas.said == "Hint 1 placed at 100, 50."
    assert np.abs(at(canvas.picture(), (100, 50)) - RED_RGB).max() <= NEAR
    canvas.page.locator("#shown").select_option("sketch")  # as the server draws it
