"""Debian's Chromium without a window, driven by Selenium. Nothing leaves the machine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
    "--window-size=1240,900",
)
# As root the browser would take precedence over everything else on the machine: it may no longer.
_HUMBLE = f'#!/bin/sh\nexec setpriv --bounding-set=-sys_nice {DRIVER} "$@"\n'


@contextmanager
def browsing(*arguments: str) -> Iterator[webdriver.Chrome]:
    """A browser, with more command line arguments; its console and its requests are recorded.

    Raises:
        FileNotFoundError: there is none.
    """
    if missing := [str(program) for program in (CHROMIUM, DRIVER) if not program.exists()]:
        raise FileNotFoundError(f"not installed: {', '.join(missing)}; `make daemons` does it")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (*_ARGUMENTS, *arguments):
        options.add_argument(argument)
    with tempfile.TemporaryDirectory(prefix="chromium-") as folder:
        driver = DRIVER
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # it needs what root gives up, and the pages are our own
            driver = Path(folder, "chromedriver")
            driver.write_text(_HUMBLE)
            driver.chmod(0o755)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver)))
        try:
            yield browser
        finally:
            browser.quit()
