"""The page in chromium: drop, zoom, wipe, budget, download, a bad file, two tabs, 50 quick zooms."""

import base64
import io
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from web_process import running
from web_service import photograph, png

from moeisr_plugin import Upscaler

pytestmark = pytest.mark.slow

SECONDS = 60
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--window-size=1024,768"),
)
PIXELS = photograph(60, 90)


@pytest.fixture(scope="module")
def address(network_files, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    with running("-n", network_files["mixture"], temporary=temporary) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads, tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("there is no chromium; tools/install_chromium.sh installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
    found.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    yield found
    found.quit()


class Page:
    """One tab with the page."""

    def __init__(self, chromium, address):
        self.chromium = chromium
        chromium.get(address)
        self.wait("document.querySelectorAll('[data-sample]').length === 3")

    def run(self, script, *arguments):
        return self.chromium.execute_script(script, *arguments)

    def wait(self, condition, seconds=SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(f"return {condition}"):
                return
            time.sleep(0.05)
        state = self.run("return JSON.stringify([{...stage.dataset}, document.body.innerText])")
        raise AssertionError(f"{condition}: {state}, {self.chromium.get_log('browser')}")

    def find(self, identifier):
        return self.chromium.find_element("id", identifier)

    def text(self, identifier):
        return self.run("return document.getElementById(arguments[0]).textContent", identifier)

    def drop(self, data, name="photo.png", kind="drop"):
        """Drop or paste a file."""
        self.run(
            """
            const bytes = Uint8Array.from(atob(arguments[0]), (each) => each.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], arguments[1]));
            const options = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
            const event = arguments[2] === "paste"
                ? new ClipboardEvent("paste", options) : new DragEvent(arguments[2], options);
            document.getElementById("canvas").dispatchEvent(event);
            """,
            base64.b64encode(data).decode(),
            name,
            kind,
        )

    def open(self, pixels=PIXELS, name="photo.png", kind="drop"):
        self.drop(png(pixels), name, kind)
        self.wait(f"document.getElementById('title').textContent.startsWith('{name}')")
        self.settle()

    def settle(self):
        """Wait for the network's answer to the present view."""
        time.sleep(0.1)  # requests begin after a pause
        self.wait("['ready', 'reduced'].includes(document.getElementById('stage').dataset.network)")
        self.wait("document.getElementById('macs').textContent !== '–'")

    def key(self, keys, identifier="canvas"):
        self.run("document.getElementById(arguments[0]).focus()", identifier)
        self.chromium.switch_to.active_element.send_keys(keys)

    @property
    def scale(self):
        return float(self.run("return document.getElementById('stage').dataset.scale"))

    def shown(self):
        """Return the canvas, (H, W, 3)."""
        data = self.run("return document.getElementById('canvas').toDataURL('image/png')")
        image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
        return np.asarray(image.convert("RGBA"))[..., :3]

    def requests(self, path):
        return self.run(
            "return performance.getEntriesByType('resource').map((each) => each.name)"
            ".filter((name) => name.includes(arguments[0]))",
            path,
        )


@pytest.fixture
def page(chromium, address):
    page = Page(chromium, address)
    yield page
    severe = [each["message"] for each in chromium.get_log("browser") if each["level"] == "SEVERE"]
    refused = [line for line in severe if "Failed to load resource" in line]
    assert severe == refused  # no error of a script, and nothing that the policy blocks
    loaded = page.requests("")
    assert all(name.startswith((address, "blob:")) for name in loaded), loaded


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_dropped_or_pasted_picture_is_shown(page, kind):
    page.open(kind=kind)
    assert page.text("title") == "photo.png, 90 × 60"
    assert page.run("return document.getElementById('welcome').offsetParent") is None
    assert page.text("left-label") == "Bicubic"
    assert page.text("right-label") == "mixture"
    assert page.text("milliseconds").endswith("s")


def test_a_sample_is_opened_by_a_click(page):
    page.chromium.find_element("css selector", "[data-sample=coffee]").click()
    page.wait("document.getElementById('title').textContent === 'coffee.png, 600 × 400'")
    page.settle()


def test_zoom_shows_the_views_of_the_server(page, network_files):
    page.open()
    page.key("8")
    page.settle()
    assert page.scale == 8
    shown = page.shown()
    height, width = shown.shape[:2]
    whole = Upscaler(network_files["mixture"]).encode(PIXELS).render(scale=8)
    bicubic = np.asarray(Image.fromarray(PIXELS).resize((720, 480), Image.Resampling.BICUBIC))
    left, top = round((width - 720) / 2), round((height - 480) / 2)
    line = width // 2 - left
    inside = shown[max(top, 0) :, max(left, 0) :][:480, :720]
    whole, bicubic = (
        each[max(-top, 0) :, max(-left, 0) :][: len(inside), : inside.shape[1]] for each in (whole, bicubic)
    )
    line = width // 2 - max(left, 0)
    assert np.abs(inside[:, line:].astype(int) - whole[:, line:]).max() <= 1  # rounding of the window
    assert np.abs(inside[:, :line].astype(int) - bicubic[:, :line]).max() <= 1


def test_zoom_from_fit_to_thirty(page):
    page.open()
    fitted = page.scale
    page.run("const z = document.getElementById('zoom'); z.value = 1; z.dispatchEvent(new Event('input'))")
    page.settle()
    assert page.scale == 30
    assert page.text("zoom-value") == "×30"
    assert page.run("return document.getElementById('overview').hidden") is False
    page.find("fit").click()
    page.settle()
    assert page.scale == pytest.approx(fitted)
    assert page.run("return document.getElementById('overview').hidden") is True
    page.run("document.getElementById('zoom-in').click()")
    page.key("9")
    page.settle()
    before = page.shown()
    page.key("\ue014")  # arrow to the right
    page.settle()
    assert page.scale == 9
    moved = page.shown()[:, :340] - before[:, 58:398]  # the picture is 810 wide, the stage 694
    assert np.abs(moved.astype(np.int8)[:, 20:280]).max() <= 1


def test_pinching_zooms(page):
    page.open()
    before = page.scale
    page.run(
        """
        const canvas = document.getElementById("canvas");
        canvas.setPointerCapture = () => {};
        const send = (kind, id, x) => canvas.dispatchEvent(new PointerEvent(kind,
            {pointerId: id, clientX: x, clientY: 300, pointerType: "touch", bubbles: true}));
        send("pointerdown", 1, 250);
        send("pointerdown", 2, 350);
        send("pointermove", 2, 400);
        send("pointermove", 1, 200);
        send("pointerup", 1, 200);
        send("pointerup", 2, 400);
        """
    )
    page.settle()
    assert page.scale == pytest.approx(2 * before, rel=0.01)


def test_fifty_quick_zooms_render_the_newest_view(page, network_files):
    page.open()
    page.run("performance.clearResourceTimings()")
    page.run(
        """
        const canvas = document.getElementById("canvas");
        for (let i = 0; i < 50; i += 1) {
            setTimeout(() => canvas.dispatchEvent(new WheelEvent("wheel",
                {deltaY: i < 35 ? -60 : 40, clientX: 200 + 3 * i, clientY: 300, cancelable: true})), 12 * i);
        }
        """
    )
    time.sleep(1)
    page.settle()
    view = page.requests("/view?")
    assert 1 <= len(view) <= 20
    shown = page.shown()
    newest = page.run(
        """
        return fetch(arguments[0].replace(/&page=[^&]*/, "")).then((answer) => answer.blob()).then((blob) =>
            new Promise((resolve) => {
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result);
                reader.readAsDataURL(blob);
            }));
        """,
        view[-1],
    )
    expected = np.asarray(Image.open(io.BytesIO(base64.b64decode(newest.partition(",")[2]))))
    line = shown.shape[1] // 2
    right = shown[:, line + 1 :][:, : expected.shape[1] // 2 - 2]
    assert np.array_equal(right, expected[:, -right.shape[1] :]) or np.array_equal(
        right, expected[:, line + 1 : line + 1 + right.shape[1]]
    )


def test_the_line_wipes(page):
    page.open()
    middle = page.shown()
    page.key("\ue011", "wipe")  # Home
    assert page.find("wipe").get_attribute("aria-valuenow") == "0"
    time.sleep(0.2)
    whole = page.shown()
    assert not np.array_equal(whole, middle)
    from selenium.webdriver import ActionChains

    ActionChains(page.chromium).drag_and_drop_by_offset(page.find("wipe"), 347, 0).perform()
    time.sleep(0.2)
    assert 40 <= int(page.find("wipe").get_attribute("aria-valuenow")) <= 60
    page.key("]]")
    assert int(page.find("wipe").get_attribute("aria-valuenow")) >= 50
    half = middle.shape[1] // 2
    assert np.array_equal(whole[:, half + 40 :], middle[:, half + 40 :])


def test_two_networks_are_compared(page):
    page.open()
    page.chromium.find_element("css selector", "input[name=left][value=nearest]").click()
    page.wait("document.getElementById('left-label').textContent === 'Nearest'")
    page.chromium.find_element("css selector", "input[name=left][value=network]").click()
    page.run(
        "const second = document.getElementById('second'); second.value = 'tiny_LIIF';"
        "second.dispatchEvent(new Event('change'))"
    )
    page.wait("document.getElementById('left-label').textContent === 'tiny LIIF'")
    page.wait("!document.getElementById('left-label').hasAttribute('data-busy')")
    assert page.find("second").is_displayed()
    assert len(page.requests("network=tiny_LIIF")) >= 1


def test_the_expert_map_has_a_legend(page):
    page.open()
    page.key("\ue011", "wipe")
    time.sleep(0.2)
    before = page.shown()
    page.key("m")
    page.wait("performance.getEntriesByType('resource').some((each) => each.name.includes('/map?'))")
    page.wait("document.querySelectorAll('#legend li').length === 3")
    time.sleep(0.4)
    assert not np.array_equal(page.shown(), before)
    assert page.find("map").get_attribute("checked")
    rows = page.run("return [...document.querySelectorAll('#legend li')].map((each) => each.textContent)")
    assert [row[0] for row in rows] == ["2", "3", "4"]
    shares = [int(row.partition("layers")[2].removesuffix(" %")) for row in rows]
    assert abs(sum(shares) - 100) <= 2
    page.key("m")
    time.sleep(0.4)
    assert np.array_equal(page.shown(), before)


def test_the_budget_changes_the_cost(page):
    page.open()
    page.find("automatic").click()
    macs = []
    for budget in (0, 100):
        page.run(
            "const b = document.getElementById('budget'); b.value = arguments[0];"
            "b.dispatchEvent(new Event('input'))",
            budget,
        )
        page.wait("document.getElementById('stage').dataset.network === 'busy'", 5)
        page.settle()
        page.wait(f"document.getElementById('budget-value').textContent === '{budget} %'")
        page.wait("!document.getElementById('meter').hidden")
        macs.append(page.text("macs"))
    assert macs[0] != macs[1]
    assert page.run("return document.getElementById('meter-value').style.width") == "100%"


def test_a_file_is_downloaded(page, downloads, network_files):
    page.open()
    page.run(
        """
        document.getElementById("locked").click();
        for (const [id, value] of [["width", 200], ["height", 121]]) {
            const field = document.getElementById(id);
            field.value = value;
            field.dispatchEvent(new Event("input"));
        }
        document.getElementById("save").click();
        """
    )
    path = downloads / "photo_200x121.png"
    end = time.monotonic() + SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    expected = Upscaler(network_files["mixture"])(PIXELS, size=(121, 200))
    assert np.array_equal(np.asarray(Image.open(path)), expected)
    page.wait("document.getElementById('status').textContent.startsWith('Saved as photo_200x121.png')")


def test_sizes_that_do_not_fit_are_explained(page):
    page.open(photograph(60, 90, channels=4))
    assert page.chromium.find_element("css selector", "input[value=jpg]").get_attribute("disabled")
    page.run("const w = document.getElementById('width'); w.value = 40; w.dispatchEvent(new Event('input'))")
    assert "90 × 60 pixels already" in page.text("save-note")
    assert page.find("save").get_attribute("disabled")
    page.chromium.find_element("css selector", "[data-scale='3']").click()
    assert page.find("height").get_attribute("value") == "180"
    assert page.find("save").get_attribute("disabled") is None


def test_a_bad_file_gets_one_line_and_the_page_goes_on(page):
    page.open()
    page.drop(b"no picture at all", "notes.txt")
    page.wait("!document.getElementById('notice').hidden")
    line = page.text("notice-text")
    assert line.startswith("notes.txt: is not a picture of a known format")
    assert len(line.splitlines()) == 1
    page.find("notice-close").click()
    page.key("9")
    page.settle()
    assert page.scale == 9
    page.open(photograph(50, 70), "another.png")


def test_two_tabs_have_their_own_pictures(page, chromium, address):
    page.open()
    first = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    try:
        other = Page(chromium, address)
        other.open(photograph(40, 50), "other.png")
        other.key("9")
        other.settle()
        chromium.switch_to.window(first)
        page.key("8")
        page.settle()
        assert page.scale == 8
        assert page.text("title") == "photo.png, 90 × 60"
        chromium.switch_to.window(chromium.window_handles[-1])
        assert other.text("title") == "other.png, 50 × 40"
        assert other.run("return document.getElementById('notice').hidden")
        chromium.close()
    finally:
        chromium.switch_to.window(first)


def test_everything_that_can_be_used_has_a_name(page):
    page.open()
    page.key("m")
    page.chromium.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {
        "button",
        "slider",
        "combobox",
        "radio",
        "switch",
        "checkbox",
        "spinbutton",
        "application",
        "link",
    }
    used = [node for node in nodes if node.get("role", {}).get("value") in roles and not node.get("ignored")]
    assert len(used) >= 25
    nameless = [node for node in used if not node.get("name", {}).get("value", "").strip()]
    assert not nameless, json.dumps(nameless)[:500]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_the_page_fits_its_width(page, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        overflow = "return document.documentElement.scrollWidth - innerWidth"
        assert page.run(overflow) <= 0
        page.open()
        page.key("m")
        assert page.run(overflow) <= 0
        clipped = page.run(
            """
            const all = document.querySelectorAll("button, select, input:not(.hidden), legend, dd");
            return [...all].filter((each) => {
                const box = each.getBoundingClientRect();
                return box.width && (box.left < -1 || box.right > innerWidth + 1);
            }).map((each) => each.id || each.textContent);
            """
        )
        assert clipped == []
        background = page.run("return getComputedStyle(document.body).backgroundColor")
        light = sum(int(part) for part in background[4:-1].split(",")[:3]) > 380
        assert light == (scheme == "light")
    finally:
        page.chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
