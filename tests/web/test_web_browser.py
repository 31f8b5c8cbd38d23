"""What only a browser can tell: drawn without complaint, by mouse, by keyboard, without script."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from web_desk import NOW, MemoryDesk

from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import IncidentState
from tocsin.web.app import create_app
from tocsin.web.auth import AuthPolicy

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
INCIDENT = "/incidents/support/latency_p95-3"
PAGES = ("/", "/services", "/services/support", "/services/search", "/objectives",
         "/objectives/support-0", "/incidents",
         INCIDENT, INCIDENT + "/why", "/calls", "/messages", "/audit", "/sources", "/data-quality",
         "/detectors", "/detectors/failures/support?threshold=4",
         "/quarantine", "/setup", "/oncall",
         "/nope")  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def start(profile: Path, *, script: bool = True) -> object:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if not script:
        setting = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", setting)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


@pytest.fixture
def served() -> Iterator[Callable[[MemoryDesk], str]]:
    """Serves a desk on a free port of this machine; the answer is its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(desk: MemoryDesk) -> str:
        app = create_app(desk, auth=AuthPolicy.for_bind("127.0.0.1"), clock=ManualClock(NOW))
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


def size(browser: object, width: int, height: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def prefer(browser: object, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def wait(browser: object, condition: Callable[[object], object], seconds: float = 20) -> object:
    # A page that replaces itself may do so between finding an element and reading it.
    ignored = [WebDriverException]
    return WebDriverWait(browser, seconds, poll_frequency=0.05, ignored_exceptions=ignored).until(
        condition
    )


def complaints(browser: object, *, expected_status: int = 0) -> list[str]:
    found = [entry["message"] for entry in browser.get_log("browser")]
    return [m for m in found if not (expected_status and f"status of {expected_status}" in m)]


def background(browser: object) -> str:
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_light_and_dark_are_drawn_and_differ(
    browser: object, served: Callable[[MemoryDesk], str], tmp_path: Path
) -> None:
    address = served(MemoryDesk())
    size(browser, 1440, 960)
    seen = {}
    for theme in ("light", "dark"):
        prefer(browser, theme)
        browser.get(address)
        picture = tmp_path / f"{theme}.png"
        assert browser.save_screenshot(str(picture))
        seen[theme] = (background(browser), picture.read_bytes())
    assert seen["light"][0] == "rgb(246, 247, 251)"
    assert seen["dark"][0] == "rgb(11, 15, 30)"
    assert seen["light"][1] != seen["dark"][1]


def test_a_range_drawn_on_a_chart_is_broken_down_by_what_it_shows(
    browser: object, served: Callable[[MemoryDesk], str]
) -> None:
    size(browser, 1440, 960)
    browser.get(served(MemoryDesk()) + "/services/support")
    hit = browser.find_element(By.CSS_SELECTOR, ".plotted .hit")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", hit)
    drawn = ActionChains(browser).move_to_element_with_offset(hit, -200, 0).click_and_hold()
    drawn.move_by_offset(300, 0).release().perform()
    wait(browser, lambda b: "measure=slow" in b.current_url and "from=" in b.current_url)
    panel = browser.find_element(By.ID, "breakdown")
    assert panel.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert complaints(browser) == []


def test_the_toggle_wins_over_the_system_and_lets_it_decide_again(
    browser: object, served: Callable[[MemoryDesk], str]
) -> None:
    prefer(browser, "light")
    browser.get(served(MemoryDesk()) + "/calls")
    by_system = background(browser)
    for name, colour in (("Dark", "rgb(11, 15, 30)"), ("Auto", by_system)):
        old = browser.find_element(By.TAG_NAME, "html")
        browser.find_element(By.XPATH, f"//button[text()='{name}']").click()
        wait(browser, lambda b, old=old: b.find_element(By.TAG_NAME, "html") != old)
        wait(browser, lambda b, colour=colour: background(b) == colour)
        assert browser.current_url.endswith("/calls")
    storage = browser.execute_script("return localStorage.length + sessionStorage.length")
    assert storage == 0
    browser.delete_all_cookies()


@pytest.mark.parametrize("width", [1440, 390, 380])
def test_no_page_complains_or_is_wider_than_the_window(
    browser: object, served: Callable[[MemoryDesk], str], width: int
) -> None:
    address = served(MemoryDesk(replaying=True))
    size(browser, width, 900)
    complaints(browser)
    for path in PAGES:
        browser.get(address + path)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, path
        assert complaints(browser, expected_status=404 if path == "/nope" else 0) == [], path


def test_the_hover_card_reads_the_point_under_the_pointer(
    browser: object, served: Callable[[MemoryDesk], str]
) -> None:
    size(browser, 1440, 1200)
    browser.get(served(MemoryDesk()))
    chart = browser.find_element(By.CSS_SELECTOR, ".plotted")
    card = chart.find_element(By.CSS_SELECTOR, ".hover")
    assert not card.is_displayed()
    ActionChains(browser).move_to_element_with_offset(chart, 100, 0).perform()
    wait(browser, lambda _: card.is_displayed())
    first = card.text
    assert "p95 latency" in first
    assert "expected" in first
    assert "UTC" in first
    ActionChains(browser).move_by_offset(-300, 0).perform()
    wait(browser, lambda _: card.text != first)
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    wait(browser, lambda _: not card.is_displayed())


def test_the_keyboard_reaches_everything(
    browser: object, served: Callable[[MemoryDesk], str]
) -> None:
    size(browser, 1440, 1200)
    browser.get(served(MemoryDesk()))

    def focused(script: str) -> str:
        return browser.execute_script(f"return document.activeElement.{script}")

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    press(Keys.TAB)
    assert focused("textContent") == "Skip to content"
    press(Keys.ENTER)
    wait(browser, lambda _: focused("id") == "main")
    seen = []
    for _ in range(60):
        press(Keys.TAB)
        seen.append(focused("getAttribute('href') || document.activeElement.className"))
        if seen[-1] == "plotted":
            break
    assert seen[:2] == ["/?window=1h", "/?window=24h"]
    assert "/services/support?window=24h" in seen
    outline = focused("matches(':focus-visible')")
    assert outline is True
    card = browser.find_element(By.CSS_SELECTOR, ".hover")
    press(Keys.ARROW_LEFT)
    last = card.text
    press(Keys.ARROW_LEFT)
    assert card.is_displayed()
    assert card.text != last
    press(Keys.HOME)
    assert "03-02 14:05 UTC" in card.text
    press(Keys.ESCAPE)
    assert not card.is_displayed()
    press("g", "s")
    wait(browser, lambda b: b.current_url.endswith("/services"))
    press("/")
    assert focused("type") == "search"


def test_a_replaying_page_refreshes_itself_and_keeps_what_is_open_and_focused(
    browser: object, served: Callable[[MemoryDesk], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = MemoryDesk(replaying=True)
    now = desk.progress()
    assert now is not None
    monkeypatch.setattr(desk, "progress", lambda: now)
    browser.get(served(desk) + "/messages")
    browser.find_element(By.CSS_SELECTOR, "#raw-m2 summary").click()
    browser.execute_script("document.querySelector('article .buttons a').focus()")
    now = replace(now, calls=999_001)
    wait(browser, lambda b: "999,001" in b.find_element(By.ID, "live").text)
    assert browser.find_element(By.ID, "raw-m2").get_attribute("open")
    assert browser.execute_script("return document.activeElement.textContent") == "Open"
    assert complaints(browser) == []


def test_a_server_that_stops_answering_is_said_aloud(
    browser: object, served: Callable[[MemoryDesk], str]
) -> None:
    desk = MemoryDesk(replaying=True)
    browser.get(served(desk))
    lost = browser.find_element(By.ID, "lost")
    assert not lost.is_displayed()
    desk.broken = RuntimeError("gone")
    wait(browser, lambda _: lost.is_displayed())
    desk.broken = None
    wait(browser, lambda _: not lost.is_displayed())
    complaints(browser)


def test_everything_works_without_javascript(
    served: Callable[[MemoryDesk], str], tmp_path: Path
) -> None:
    desk = MemoryDesk()
    browser = start(tmp_path / "profile", script=False)
    try:
        size(browser, 1440, 1200)
        browser.get(served(desk))
        assert not browser.find_elements(By.CSS_SELECTOR, ".hover"), "the script must be off here"
        assert browser.find_element(By.CSS_SELECTOR, ".chart .line").size["width"] > 800
        browser.find_element(By.LINK_TEXT, "7 d").click()
        assert browser.current_url.endswith("/?window=7d")
        browser.find_element(By.PARTIAL_LINK_TEXT, "Incidents").click()
        browser.find_element(By.LINK_TEXT, "Support assistant is slow").click()
        browser.find_element(By.NAME, "name").send_keys("Ana")
        browser.find_element(By.XPATH, "//button[text()='Acknowledge']").click()
        wait(browser, lambda b: "Acknowledged." in b.find_element(By.TAG_NAME, "main").text)
        row = desk.incident("support/latency_p95-3").row
        assert (row.state, row.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "web:Ana")
    finally:
        browser.quit()
