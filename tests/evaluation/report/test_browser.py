"""The page of `zoo report` in a real browser: it opens from the disk, reaches for nothing, and its sliders move."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ibgan_plugin.evaluation.report import write_report

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
INSIDE = np.s_[3:-3, 3:-3]  # of a picture: its corners are round
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM.is_file() and DRIVER.is_file()),
    reason="needs Debian's browser: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def page(ibgan_run: Path, vae_run: Path, drawn: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "two runs.html"
    return write_report([ibgan_run, vae_run], out, images=4, steps=5, device="cpu", data_root=drawn)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    """Chromium with an empty profile, which records its console and every request."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page, freshly opened, with all its pictures decoded."""
    browser.get("about:blank")
    for log in ("browser", "performance"):  # the browser's own first page loads things, too
        browser.get_log(log)
    browser.get(page.as_uri())
    browser.execute_async_script(
        "Promise.all([...document.images].map(i => i.decode())).then(() => requestAnimationFrame(arguments[0]))"
    )
    return browser


def dimension(browser: Any, number: int = 0) -> Any:
    return browser.find_elements("css selector", ".dimension")[number]


def seen(figure: Any) -> np.ndarray:
    """The pixels of a dimension's picture on the screen: gray (64, 64), each shown as 2 x 2."""
    shot = np.asarray(Image.open(io.BytesIO(figure.find_element("css selector", "canvas").screenshot_as_png)))
    assert shot.shape[:2] == (128, 128)
    assert np.array_equal(shot[::2, ::2][INSIDE], shot[1::2, 1::2][INSIDE])
    return shot[::2, ::2, 0]


def frame(figure: Any, base: int, position: int) -> np.ndarray:
    """What the sheet of a dimension holds for a base and a position of the slider."""
    uri = figure.find_element("css selector", ".strip img").get_attribute("src")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))
    return sheet[base * 64 : base * 64 + 64, position * 64 : position * 64 + 64]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a[INSIDE], b[INSIDE])


def test_it_opens_from_the_disk_without_errors_and_reaches_for_nothing(opened: Any, page: Path, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    chart = opened.find_element("css selector", "svg[data-chart]")
    ActionChains(opened).move_to_element(chart).perform()
    assert opened.save_screenshot(str(tmp_path / "screenshot.png"))

    shot = np.asarray(Image.open(tmp_path / "screenshot.png").convert("RGB"))
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 50  # something is drawn
    assert chart.find_element("xpath", "../output").text.startswith("step ")
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = {
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in requests if not url.startswith("data:")} == {page.as_uri()}


def test_the_arrow_keys_move_a_slider_and_its_picture(opened: Any) -> None:
    from selenium.webdriver import Keys

    figure, other = dimension(opened), dimension(opened, 1)
    slider = figure.find_element("css selector", "input")
    start, still = int(slider.get_attribute("value")), seen(other)
    assert same(seen(figure), frame(figure, 0, start))

    slider.send_keys(Keys.END)

    assert slider.get_attribute("value") == "4"
    assert figure.find_element("css selector", "output").text == "+3.0"
    assert slider.get_attribute("aria-valuetext") == "+3.0"
    end = seen(figure)
    assert same(end, frame(figure, 0, 4))
    slider.send_keys(Keys.ARROW_LEFT)
    assert figure.find_element("css selector", "output").text == "+1.5"
    assert same(seen(figure), frame(figure, 0, 3))
    slider.send_keys(Keys.HOME)
    assert figure.find_element("css selector", "output").text == "−3.0"
    assert same(seen(figure), frame(figure, 0, 0))
    assert not same(seen(figure), end)
    assert same(seen(other), still)


def test_the_pointer_drags_a_slider(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    figure = dimension(opened)
    slider = figure.find_element("css selector", "input")

    ActionChains(opened).move_to_element(slider).click_and_hold().move_by_offset(400, 0).release().perform()

    assert slider.get_attribute("value") == "4"
    assert same(seen(figure), frame(figure, 0, 4))


def test_another_base_is_chosen_with_the_keyboard(opened: Any) -> None:
    from selenium.webdriver import Keys

    figure = dimension(opened)
    opened.find_element("css selector", ".bases input").send_keys(Keys.ARROW_RIGHT)

    start = [int(word) for word in figure.get_attribute("data-start").split()][1]
    assert same(seen(figure), frame(figure, 1, start))
    assert not same(frame(figure, 1, start), frame(figure, 0, start))


def test_rows_play_and_reset(opened: Any) -> None:
    figure = dimension(opened)
    slider = figure.find_element("css selector", "input")
    rows, play, reset = (opened.find_element("css selector", f".tools .{name}") for name in ("rows", "play", "reset"))
    strip = figure.find_element("css selector", ".strip")
    assert not strip.is_displayed()
    rows.click()
    assert strip.is_displayed()
    assert not figure.find_element("css selector", "canvas").is_displayed()
    rows.click()

    play.click()
    positions = opened.execute_async_script(
        "const [slider, done] = arguments, found = new Set(), began = performance.now();"
        "const timer = setInterval(() => { found.add(slider.value);"
        " if (found.size < 5 && performance.now() - began < 10000) return;"
        " clearInterval(timer); done([...found].sort()); }, 10);",
        slider,
    )
    assert positions == ["0", "1", "2", "3", "4"]
    assert play.text == "Pause"
    play.click()
    reset.click()
    assert slider.get_attribute("value") == figure.get_attribute("data-start").split()[0]


def test_it_is_dark_where_the_reader_is_and_white_in_print(opened: Any) -> None:
    def ground(**media: Any) -> int:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        colour = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) // 3

    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    try:
        assert ground(features=light) > 200
        assert ground(features=dark) < 60
        assert ground(media="print", features=dark) == 255
        assert dimension(opened).find_element("css selector", ".strip").is_displayed()  # paper has no sliders
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    pdf = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000


def test_nothing_overflows_a_narrow_screen(opened: Any) -> None:
    opened.set_window_size(500, 900)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        opened.set_window_size(1280, 1000)
