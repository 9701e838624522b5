"""A browser for people: Debian's Chromium without a window, in which nothing leaves the machine."""

import json
import os
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
ALONE = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1240,900",
)


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
def browser(tmp_path_factory):
    """Fails where there is none: `make daemons` installs it."""
    missing = [str(program) for program in (CHROMIUM, DRIVER) if not program.exists()]
    assert not missing, f"not installed: {', '.join(missing)}; `make daemons` does it"
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = DRIVER
    if os.geteuid() == 0:
        # Its sandbox needs what root gives up, and the page is our own. What root may do, it does: it would
        # take precedence over everything else on the machine.
        options.add_argument("--no-sandbox")
        driver = tmp_path_factory.mktemp("driver") / "chromedriver"
        driver.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-sys_nice {DRIVER} "$@"\n')
        driver.chmod(0o755)
    for argument in ALONE:
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver)))
    yield browser
    browser.quit()


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
