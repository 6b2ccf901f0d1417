"""Debian's Chromium without a window, driven by selenium; and the page as a user handles it."""
import shutil
import time

import pytest

ROOT_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en",
                  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def start_browser(sound_file, downloads):
    """A new Chromium whose microphone plays sound_file; skips the test where there is none."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no chromium here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here: pip install -r tests/e2e/requirements.txt")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (*ROOT_ARGUMENTS, f"--use-file-for-fake-audio-capture={sound_file}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    service = webdriver.chrome.service.Service(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class Page:
    """The chat page in a browser: small words for what a user does and sees."""

    def __init__(self, browser, url):
        self.browser = browser
        self.url = url
        self.resize(1280, 860)
        browser.get(url)
        self.js("localStorage.clear(); sessionStorage.clear();")
        self.js_async("const done = arguments[0]; const r = indexedDB.deleteDatabase('lapidary'); r.onsuccess = r.onblocked = r.onerror = () => done(1);")
        browser.get(url)
        browser.get_log("browser")
        self.wait(lambda: self.find("#prompt"))

    def js(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def js_async(self, code, *arguments):
        self.browser.set_script_timeout(60)
        return self.browser.execute_async_script(code, *arguments)

    def resize(self, width, height, touch=False):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch})

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def find(self, selector):
        found = self.all(selector)
        return found[0] if found else None

    def text(self, selector):
        """Of the last one that matches, as the document has it, hidden or not."""
        return self.js("return [...document.querySelectorAll(arguments[0])].at(-1)?.textContent ?? null", selector)

    def click(self, selector):
        self.wait(lambda: self.find(selector))
        self.js("document.querySelector(arguments[0]).click()", selector)

    def fill(self, selector, text):
        self.js("const [s, t] = arguments; const e = document.querySelector(s); e.value = t; e.dispatchEvent(new Event('input', {bubbles: true}));",
                selector, text)

    def press(self, key, selector=None):
        element = self.find(selector) if selector else self.browser.switch_to.active_element
        element.send_keys(key)

    def wait(self, condition, seconds=20):
        end = time.time() + seconds
        while not (value := condition()):
            assert time.time() < end, "waited in vain; the browser says: " + str(self.browser.get_log("browser"))
            time.sleep(0.03)
        return value

    def ready(self):
        """Until the model is known and messages may be sent."""
        self.wait(lambda: self.find(".model-name, .model select"))

    def type_and_send(self, text):
        self.find("#prompt").send_keys(text)
        self.press("\ue007", "#prompt")

    def wait_for_answers(self, count, seconds=120):
        self.wait(lambda: len(self.all(".message.reply:not(.live)")) >= count and not self.all(".message.live"), seconds)

    def send(self, text, seconds=120):
        """Sends a text and waits for the end of the answer; returns what it says."""
        before = len(self.all(".message.reply"))
        self.type_and_send(text)
        self.wait_for_answers(before + 1, seconds)
        return self.text(".answer")

    def attach(self, path):
        before = len(self.all(".preview"))
        self.find("#files").send_keys(str(path))
        self.wait(lambda: len(self.all(".preview")) == before + 1)

    def errors(self):
        """What the browser's console complains about, refused requests aside."""
        return [entry["message"] for entry in self.browser.get_log("browser")
                if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]]
