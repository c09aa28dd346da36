"""The page in a real Chromium: a sketch dropped, coloured, compared, varied and downloaded."""

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page

from colorizer.studio import app
from tests.colorizer.drawing import draw, ink_alone, painted, png, save_frames
from tests.colorizer.studio.conftest import CHROMIUM
from tests.colorizer.studio.running import Studio, running_studio

STYLE = Path(app.__file__).with_name("static") / "studio.css"
SCREENSHOTS_FOLDER = os.environ.get("SCREENSHOTS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def studio(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with running_studio(model_folder, tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture(params=["desktop", "phone"])
def page(browser: Browser, studio: Studio, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The opened page; it must log no errors and send requests to the studio only."""
    is_phone = request.param == "phone"
    size = {"width": 390, "height": 844} if is_phone else {"width": 1200, "height": 900}
    context = browser.new_context(viewport=size, is_mobile=is_phone, has_touch=is_phone)  # type: ignore[arg-type]
    page = context.new_page()
    logged: list[str] = []
    urls: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda sent: urls.append(sent.url))
    page.goto(studio.url)
    page.get_by_text("px").first.wait_for()
    yield page
    if SCREENSHOTS_FOLDER:
        page.screenshot(path=f"{SCREENSHOTS_FOLDER}/{request.node.name}.png", full_page=True)
    context.close()
    assert logged == [] or all("grid.png" in line or "400" in line for line in logged)
    assert all(url.startswith((studio.url, "blob:")) for url in urls)


def upload(page: Page, picture: bytes, where: str = "#file") -> None:
    page.locator(where).set_input_files(
        FilePayload(name="sketch.png", mimeType="image/png", buffer=picture)
    )


def coloured(page: Page, act: Callable[[], object]) -> bytes:
    """Perform an action and wait for the resulting picture; return its bytes."""
    before = page.locator("#after").get_attribute("src")
    act()
    page.locator(f'#after[src]:not([src="{before}"])').wait_for()
    page.get_by_text("Coloured in").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="PNG").click()
    return Path(download.value.path()).read_bytes()


def coloured_upload(page: Page, picture: bytes) -> bytes:
    return coloured(page, lambda: upload(page, picture))


def coloured_by(page: Page, button: str) -> bytes:
    return coloured(page, page.get_by_role("button", name=button, exact=True).click)


def sketch() -> bytes:
    return png(draw(90, 70))


def test_a_sketch_is_coloured_with_variants_and_downloaded(page: Page, studio: Studio) -> None:
    first = coloured_upload(page, sketch())
    assert first == studio.post(sketch()).content
    assert Image.open(io.BytesIO(first)).size == (90, 70)
    second = coloured_by(page, "Another")
    assert second == studio.post(sketch(), seed=1).content
    assert coloured_by(page, "Plain") == first

    with page.expect_download() as download:
        page.get_by_role("button", name="Layers (.ora)").click()
    assert download.value.suggested_filename == "coloured.ora"
    assert "stack.xml" in zipfile.ZipFile(download.value.path()).namelist()


def test_the_slider_reveals_the_sketch(page: Page) -> None:
    coloured_upload(page, sketch())
    compare = page.locator("#compare")
    shots = []
    for share in ("100", "0"):
        page.locator("#slider").fill(share)
        shots.append(np.asarray(Image.open(io.BytesIO(compare.screenshot()))).astype(int))
    assert np.abs(shots[0] - shots[1]).max() > 30
    page.locator("#slider").press("ArrowRight")  # by keyboard
    assert page.locator("#slider").input_value() == "1"


def test_two_models_are_shown_side_by_side(page: Page) -> None:
    page.locator("#other").select_option("other")
    coloured_upload(page, sketch())
    page.locator("#second").wait_for(state="visible")
    assert page.locator("#after-other").get_attribute("src")
    assert page.locator("#caption-other").text_content()


def test_a_photo_is_cleaned_on_request(page: Page, studio: Studio) -> None:
    page.get_by_label("Clean a photo or scan first").check()
    assert coloured_upload(page, sketch()) == studio.post(sketch(), clean="true").content


def test_a_palette_is_taken_from_a_picture(page: Page) -> None:
    plain = coloured_upload(page, sketch())
    red = png(Image.new("RGB", (40, 40), (200, 40, 40)))
    recoloured = coloured(page, lambda: upload(page, red, "#palette-file"))
    assert recoloured != plain
    assert page.locator("#use-palette").is_checked()
    swatches = page.get_by_label(re.compile("(First|Second|Third) colour"))
    assert {swatch.input_value() for swatch in swatches.all()} == {"#c82828"}
    upload(page, png(Image.new("L", (40, 40), 90)), "#palette-file")
    page.get_by_text("No palette found: the picture has no colours").wait_for()


def test_transparent_paper_can_be_filled_with_white(page: Page) -> None:
    coloured_upload(page, png(ink_alone(draw(90, 70))))
    assert page.get_by_text("The sketch's paper is transparent").count() == 1
    filled = coloured(page, page.get_by_label("Fill transparent areas with white").check)
    assert Image.open(io.BytesIO(filled)).mode == "RGB"
    assert page.get_by_text("The sketch's paper is transparent").count() == 0


def test_a_picture_that_is_coloured_already_is_coloured_on_request(page: Page) -> None:
    upload(page, png(painted(90, 70)))
    page.get_by_text("This picture is coloured already, so it is shown as it is").wait_for()
    again = coloured(page, page.get_by_label("Colour it also if it is coloured already").check)
    assert Image.open(io.BytesIO(again)).tobytes() != painted(90, 70).tobytes()
    assert page.get_by_text("This picture is coloured already").count() == 0


def test_a_toy_is_called_so_beside_its_name(page: Page) -> None:
    note = page.get_by_role("note")
    assert note.is_hidden()
    page.locator("#model").select_option("toy")
    note.wait_for()
    assert "a toy to try the pipeline with" in str(note.text_content())
    assert page.locator('#model option[value="toy"]').text_content().endswith("a toy")  # type: ignore[union-attr]
    page.locator("#model").select_option("folder")
    note.wait_for(state="hidden")


def test_the_page_says_that_only_the_first_of_several_pages_is_coloured(
    page: Page, tmp_path: Path
) -> None:
    save_frames(tmp_path / "doc.tif")
    upload(page, (tmp_path / "doc.tif").read_bytes())
    page.get_by_text("The file holds 3 pages: this is the first").wait_for()


def test_a_bad_file_is_refused_with_its_reason(page: Page) -> None:
    upload(page, b"hello")
    page.get_by_text("The sketch can't be coloured: not a picture").wait_for()


def drop(page: Page, *files: bytes) -> None:
    """Drop files beside the field."""
    page.evaluate(
        """(files) => {
            const data = new DataTransfer();
            for (const bytes of files) data.items.add(new File([Uint8Array.from(bytes)], "a.png"));
            const options = { dataTransfer: data, bubbles: true, cancelable: true };
            for (const kind of ["dragenter", "dragover", "drop"])
                document.querySelector("h1").dispatchEvent(new DragEvent(kind, options));
        }""",
        [list(file) for file in files],
    )


def test_after_a_bad_file_the_picture_before_it_is_gone(page: Page) -> None:
    coloured(page, lambda: drop(page, sketch()))
    drop(page, b"hello")
    page.get_by_text("The sketch can't be coloured: not a picture").wait_for()
    assert page.locator("#result").is_hidden()
    page.get_by_label("Fill transparent areas with white").check()
    page.get_by_text("The sketch can't be coloured: not a picture").wait_for()
    assert page.locator("#result").is_hidden()
    coloured_upload(page, sketch())
    assert page.locator("#result").is_visible()


def test_a_drop_that_is_not_one_file_is_refused_with_what_to_drop(page: Page) -> None:
    coloured_upload(page, sketch())
    drop(page)
    page.get_by_text("No file was dropped").wait_for()
    drop(page, sketch(), sketch())
    page.get_by_text("2 files: drop one").wait_for()
    assert page.locator("#result").is_visible()


def test_the_same_file_can_be_chosen_again(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "sketch.png"
    for data, text in ((b"hello", "not a picture"), (sketch(), "Coloured in")):
        path.write_bytes(data)
        with page.expect_file_chooser() as chooser:
            page.locator("#drop").click()
        chooser.value.set_files(path)
        page.get_by_text(text).wait_for()


def test_the_api_page_is_readable_and_asks_this_server_alone(page: Page, studio: Studio) -> None:
    page.get_by_role("link", name="the API").click()
    page.get_by_role("heading", name="Image-Colorizer: API").wait_for()
    assert page.get_by_role("heading", level=2).count() == 6
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner
    page.get_by_role("link", name="the studio").click()
    page.get_by_text("Drop a sketch to begin").wait_for()
    assert page.url == f"{studio.url}/"


def test_every_control_is_labelled_and_within_the_page(page: Page) -> None:
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    nameless = page.evaluate("""
        [...document.querySelectorAll("button, input, select, a, img")]
            .filter((e) => !(e.labels?.length || e.textContent.trim() || e.alt || e.ariaLabel
                || e.querySelector("img[alt]")))
            .map((e) => e.outerHTML)""")
    assert nameless == []
    small = page.evaluate("""
        [...document.querySelectorAll("button, .button, select")]
            .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 40)
            .map((e) => e.outerHTML)""")
    assert small == []


def test_every_control_can_be_reached_by_keyboard(page: Page) -> None:
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"file", "clean", "another", "line-strength", "model", "other"} <= set(reached)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("--ink", "--paper"),
        ("--ink", "--card"),
        ("--quiet", "--paper"),
        ("--quiet", "--card"),
        ("--strong", "--card"),
    ],
)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(text: str, ground: str, scheme: int) -> None:
    colours = []
    for name in (text, ground):
        found = re.findall(rf"{name}: (#[0-9a-f]+);", STYLE.read_text())[scheme]
        colours.append(found if len(found) == 7 else "#" + "".join(2 * c for c in found[1:]))
    assert contrast(*colours) >= 4.5
