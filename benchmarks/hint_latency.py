"""``python -m benchmarks.hint_latency``: how long a stroke takes to become a picture in the studio.

Starts ``colorize studio`` on loopback and paints strokes in a real Chromium, one after the other.
Prints milliseconds from the pen's release to the picture on the page's canvas. The model must
take hints. Needs Chromium (Debian: chromium).
"""

import argparse
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import FilePayload, Page, sync_playwright

from benchmarks.studio_load import URL, draw_sketch, studio

SIDES = (256, 1024)
TIMEOUT_MS = 30_000
# busy until the picture is that of all hints; it is drawn in the frame after
STOPWATCH = """
    () => {
        window.took = [];
        let beganMs = 0;
        const note = (began) => took.push(performance.now() - began);
        document.querySelector("#canvas").addEventListener("pointerup", () => {
            beganMs = performance.now();
        }, { capture: true });
        new MutationObserver(() => {
            if (document.querySelector("#result").ariaBusy === "true" || !beganMs) return;
            const began = beganMs;
            beganMs = 0;
            requestAnimationFrame(() => requestAnimationFrame(() => note(began)));
        }).observe(document.querySelector("#result"), { attributeFilter: ["aria-busy"] });
    }"""


def main() -> None:
    """Measure sketches of each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/colorizer"))
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="px of the sketches")
    parser.add_argument("--strokes", type=int, default=40, help="per sketch (default: 40)")
    arguments = parser.parse_args()
    with studio(arguments.model), opened_page() as page:
        print("side px  strokes  p50 ms  p95 ms")
        for side in arguments.sides:
            times = measure(page, side, arguments.strokes)
            p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
            median = statistics.median(times)
            print(f"{side:7} {len(times):8} {median:7.0f} {p95:7.0f}", flush=True)


@contextmanager
def opened_page() -> Iterator[Page]:
    """The studio's page in Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        yield page
        browser.close()


def measure(page: Page, side: int, num_strokes: int) -> Sequence[float]:
    """Milliseconds of each stroke on one sketch, without the first, which warms up."""
    page.goto(URL)
    page.locator("#model option").first.wait_for(state="attached")
    file = FilePayload(name="sketch.png", mimeType="image/png", buffer=draw_sketch(side))
    page.locator("#file").set_input_files(file)
    page.get_by_text("Coloured in").wait_for()
    page.locator("#canvas").scroll_into_view_if_needed()
    page.evaluate(STOPWATCH)
    for number in range(num_strokes + 1):
        paint(page, number)
        page.wait_for_function("(number) => took.length > number", arg=number)
    return list(page.evaluate("took"))[1:]


def paint(page: Page, number: int) -> None:
    """Paint a stroke in the middle of the canvas, each in another place and colour."""
    box = page.locator("#canvas").bounding_box()
    if box is None:
        raise SystemExit("this model takes no hints")
    page.locator("#hint-colour").fill(f"#{37 * number % 256:02x}{91 * number % 256:02x}a0")
    x = box["x"] + box["width"] / 2 + 23 * number % 200 - 100
    y = box["y"] + box["height"] / 2 + 41 * number % 200 - 100
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 20, steps=5)
    page.mouse.up()


if __name__ == "__main__":
    main()
