"""Somebody who reads pages in a real browser."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.page.chromium import browsing


class Reader:
    """Somebody who has opened a page and looks at it. Only what is visible counts."""

    def __init__(self, browser):
        self.browser = browser

    def open(self, file):
        self.browser.get(file.as_uri())

    def the(self, selector):
        """The one visible element that fits."""
        (element,) = self.all(selector)
        return element

    def all(self, selector):
        return [e for e in self.browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def texts(self, selector):
        return [element.text for element in self.all(selector)]

    def waits_for(self, selector):
        """Fails in half a minute."""
        WebDriverWait(self.browser, 30).until(lambda _: self.all(selector))

    @property
    def sees(self):
        return self.browser.find_element(By.TAG_NAME, "body").text

    def complaints(self):
        """What the browser's console says since it was last asked."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self):
        """The addresses of everything that the browser fetched, or wanted to."""
        events = (json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance"))
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def command(self, name, **arguments):
        """Something of the Chrome DevTools Protocol."""
        return self.browser.execute_cdp_cmd(name, arguments)


@pytest.fixture(scope="session")
def browser():
    """Fails where there is none, and is never skipped."""
    with browsing() as browser:
        yield browser


@pytest.fixture
def reader(browser):
    """A reader at an empty desk."""
    reader = Reader(browser)
    browser.get("about:blank")
    reader.complaints()
    reader.requests()
    yield reader
    reader.command("Emulation.setScriptExecutionDisabled", value=False)
    reader.command("Emulation.setEmulatedMedia", media="", features=[])
