"""Page of a review in a real browser: keys, mouse, outlines, and a server that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_semiseg.export.contact_sheet import write_contact_sheet
from monai_semiseg.export.report import read_report
from monai_semiseg.labelling.decisions import read_decisions
from tests.labelling.review_builders import NAMES, write_run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
KIDNEY = [255, 176, 0]  # colours of the outlines
CYST = [0, 208, 255]
# Number of pixels of a colour on a canvas, and their mean place in the slice, 0 to 1.
COUNT = """
const [id, colour] = arguments;
const canvas = document.getElementById(id);
const { width, height } = canvas;
const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
let count = 0, across = 0, down = 0;
for (let n = 0; n < data.length; n += 4) {
  if (colour.every((part, at) => Math.abs(part - data[n + at]) < 12)) {
    count += 1; across += (n / 4) % width; down += Math.floor(n / 4 / width);
  }
}
return [count, across / count / width, down / count / height];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium with a chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,940")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """Show the page as a reviewer sees it."""

    def __init__(self, browser: Any) -> None:
        from selenium.webdriver.common.keys import Keys

        self.browser = browser
        self.named = {"up": Keys.ARROW_UP, "down": Keys.ARROW_DOWN, "escape": Keys.ESCAPE}

    def text(self, selector: str) -> str:
        found = self.browser.find_elements("css selector", selector)
        return "\n".join(one.text for one in found)

    def texts(self, selector: str) -> list[str]:
        found = self.browser.find_elements("css selector", selector)
        return [one.text.splitlines()[0] for one in found if one.is_displayed()]

    def number(self, field: str) -> float:
        (found,) = self.browser.find_elements("id", field)
        return float(found.get_property("value"))

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.browser).send_keys(self.named.get(key, key)).perform()

    def click(self, element: Any, across: float, down: float) -> None:
        from selenium.webdriver import ActionChains

        size = element.rect
        there = round((across - 0.5) * size["width"]), round((down - 0.5) * size["height"])
        ActionChains(self.browser).move_to_element_with_offset(element, *there).click().perform()

    def choose(self, field: str, words: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.browser.find_element("id", field)).select_by_visible_text(words)

    def until(self, condition: Callable[[], object]) -> None:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        rewritten = [StaleElementReferenceException]  # the list is made anew
        WebDriverWait(self.browser, 30, 0.05, rewritten).until(lambda _: condition())

    def until_open(self, case: str, caption: str) -> None:
        current = "#cases [aria-current=true]"
        self.until(lambda: self.text(current).startswith(case))
        self.until(lambda: caption in self.text("#caption"))

    def outline(self, colour: list[int], canvas: str = "plane0") -> tuple[float, float, float]:
        count, across, down = self.browser.execute_script(COUNT, canvas, colour)
        return count, across or 0.0, down or 0.0

    def no_complaint(self) -> bool:
        """Return True if the browser blocked nothing and no script failed."""
        return not [line for line in self.browser.get_log("browser") if line["level"] == "SEVERE"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], tuple[subprocess.Popen[str], str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(out: Path) -> tuple[subprocess.Popen[str], str]:
        server = subprocess.Popen(
            [sys.executable, "-m", "monai_semiseg", "review", str(out), "--no_browser"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        started.append(server)
        assert server.stdout is not None
        first = server.stdout.readline()
        assert first.startswith("3 masks: http://127.0.0.1:")
        return server, first.split()[-1]

    yield start
    for server in started:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def kept(out: Path) -> dict[str, tuple[str, str]]:
    return {case: (made.decision, made.note) for case, made in read_decisions(out).items()}


def test_a_review(tmp_path: Path, browser: Any, serve: Callable[..., Any]) -> None:
    out = write_run(tmp_path)
    server, address = serve(out)
    page = Page(browser)
    browser.get(address)
    page.until_open("b", "of 16)")
    see_the_outline(page)
    scroll_and_set_the_window(page)
    page.press("e", "cut off; rim", "escape", "a")
    page.until(lambda: kept(out) == {"b": ("accepted", "cut off; rim")})
    page.until_open("sub/a", "of 16)")
    page.press("r")
    page.until(lambda: kept(out).get("sub/a") == ("rejected", ""))
    page.until_open("c", "(1 of 1)")
    see_the_photograph(page)

    server.send_signal(signal.SIGKILL)
    server.wait()
    page.press("c")
    page.until(lambda: "Not kept. The server does not answer" in page.text("#message"))
    assert set(kept(out)) == {"b", "sub/a"} and not list(out.glob(".part*"))

    browser.get_log("browser")  # of the server that was gone
    browser.get(serve(out)[1])
    page.until_open("c", "(1 of 1)")  # the first that is not decided
    assert "accepted: cut off; rim" in page.text("#cases") and "2 of 3" in page.text("#counts")
    page.press("c")
    page.until(lambda: kept(out).get("c") == ("needs_correction", ""))
    page.press("u")
    page.until(lambda: "c" not in kept(out))
    filter_and_order(page)
    assert page.no_complaint()


def see_the_outline(page: Page) -> None:
    """Find the kidney on the patient's right, anterior: on the left and above in the picture."""
    page.until(lambda: page.outline(KIDNEY)[0] > 100)
    _, across, down = page.outline(KIDNEY)
    assert across < 0.5 and down < 0.5
    page.press("up")
    page.until(lambda: page.outline(CYST)[0] > 50)
    _, across, down = page.outline(KIDNEY, "plane2")  # sagittal: anterior left, superior above
    assert across < 0.5 and down < 0.5
    page.press("m")
    page.until(lambda: page.outline(KIDNEY)[0] == 0)
    page.press("m")
    page.until(lambda: page.outline(KIDNEY)[0] > 100)


def scroll_and_set_the_window(page: Page) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.keys import Keys

    canvas = page.browser.find_element("id", "plane0")
    start = int(page.text("#caption").split("(")[1].split()[0])
    origin = ScrollOrigin.from_element(canvas)
    ActionChains(page.browser).scroll_from_origin(origin, 0, -120).perform()
    page.until(lambda: f"({start + 1} of 16)" in page.text("#caption"))
    page.press(*["up"] * 16)
    page.until(lambda: "(16 of 16)" in page.text("#caption"))
    page.until(lambda: page.outline(KIDNEY)[0] == 0)  # the last slice has no kidney
    page.press(*["down"] * (16 - start))
    page.until(lambda: page.outline(KIDNEY)[0] > 100)

    width, centre = page.number("width"), page.number("centre")
    wider = ActionChains(page.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT)
    wider.key_up(Keys.SHIFT).perform()
    page.until(lambda: page.number("width") > width)
    drag = ActionChains(page.browser).click_and_hold(canvas).move_by_offset(-40, 60)
    drag.release().perform()
    page.until(lambda: page.number("width") < width and page.number("centre") > centre)
    page.press("w")
    page.until(lambda: (page.number("width"), page.number("centre")) == (width, centre))

    page.press("2")
    page.until(lambda: "Coronal" in page.text("#caption"))
    page.press("1")
    page.until(lambda: "Axial" in page.text("#caption"))
    _, across, down = page.outline(KIDNEY)
    page.click(canvas, 1 - across, 1 - down)  # far from the kidney
    page.until(lambda: page.outline(KIDNEY, "plane1")[0] == 0)
    page.click(canvas, across, down)
    page.until(lambda: page.outline(KIDNEY, "plane1")[0] > 0)


def see_the_photograph(page: Page) -> None:
    """Find red on the left, as it was taken, and grey in one channel."""
    page.until(lambda: page.outline([200, 0, 0])[0] > 1000)
    assert page.outline([200, 0, 0])[1] < 0.5 < page.outline([0, 0, 200])[1]
    assert not page.browser.find_element("id", "plane1").is_displayed()
    page.press("k")
    page.until(lambda: page.outline([200, 0, 0])[0] == 0)
    assert page.outline(KIDNEY)[1] < 0.5


def filter_and_order(page: Page) -> None:
    for words, cases in (
        ("flagged", ["b"]),
        ("rejected", ["sub/a"]),
        ("not decided yet", ["c"]),
        ("without a mask", ["in/<b>cut.nii.gz"]),
        ("all", ["b", "sub/a", "c", "in/<b>cut.nii.gz"]),
    ):
        page.choose("filter", words)
        assert page.texts("#cases li") == cases
    page.choose("order", "largest kidney first")
    assert page.texts("#cases li")[:3] == ["c", "sub/a", "b"]  # 120 px, 0.396 mL, 0.326 mL
    page.choose("order", "smallest kidney first")
    assert page.texts("#cases li")[:3] == ["b", "sub/a", "c"]


def test_the_static_page_has_the_same_order_and_filters(tmp_path: Path, browser: Any) -> None:
    """Open it from a file, without a server."""
    out = write_run(tmp_path)
    (out / "b_preview.png").parent.mkdir(exist_ok=True)
    Image.new("RGB", (30, 20), "red").save(out / "b_preview.png")
    browser.get_log("browser")
    browser.get(write_contact_sheet(read_report(out).results, out, NAMES).as_uri())
    page = Page(browser)
    masks = "figure a"
    order = ["b_seg.nii.gz", "sub/a_seg.nii.gz", "c_seg.png"]
    assert page.texts(masks) == order
    assert browser.execute_script("return document.querySelector('img').naturalWidth") == 30
    page.choose("filter", "flagged")
    assert page.texts(masks) == ["b_seg.nii.gz"] and page.text("#shown") == "1 of 3 pictures"
    assert not page.texts("#without")
    page.choose("filter", "failed")
    assert page.texts(masks) == [] and "<b>cut.nii.gz" in page.text("#without")
    page.choose("filter", "all")
    page.choose("order", "largest kidney first")
    assert page.texts(masks) == ["c_seg.png", "sub/a_seg.nii.gz", "b_seg.nii.gz"]
    page.choose("order", "most doubtful first")
    assert page.texts(masks) == order and page.no_complaint()
