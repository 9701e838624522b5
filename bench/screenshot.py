"""`make screenshot`: docs/images/report.png, the page of a verification of a lab in which something is wrong.

What it shows was found: a mode is changed on one machine and another machine is unplugged, the fleet is
verified, and both are mended again.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailwright.lab.lab import Lab
from mailwright.model.load import load_fleet

IMAGE = Path(__file__).parent.parent / "docs" / "images" / "report.png"
_FILE = "/etc/postfix/main.cf"
_WIDTH = 1100
_SCALE = 1.5
"""Pixels for each of CSS: sharp enough, and below 300 kB."""
_BEGINNING = "return document.querySelector('.problem').getBoundingClientRect().bottom + 5"
"""The height of what the picture shows: from the title to the first failure."""


def main() -> None:
    """Spoil, verify, photograph, mend."""
    parser = argparse.ArgumentParser(prog="python -m bench.screenshot", description=__doc__)
    parser.add_argument("fleet", type=Path, help="the fleet file of a lab that is up, deployed and well")
    fleet = parser.parse_args().fleet
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        with spoiled(fleet):
            command = ["mailwright", "verify", str(fleet), f"--html={page}"]
            status = subprocess.run(command, check=False).returncode
        if status != 1:
            sys.exit(f"verify ended with status {status}, where something was broken")
        photograph(page, IMAGE)
    print(f"{IMAGE}: {IMAGE.stat().st_size // 1000} kB")


@contextmanager
def spoiled(file: Path) -> Iterator[None]:
    """One sending machine has a file that everybody may write, and the last balancer is unplugged."""
    fleet, lab = load_fleet(file), Lab.open(file)
    sending = lab.host(fleet.with_role("postfix")[0].name)
    unplugged = lab.host(fleet.with_role("keepalived")[-1].name)
    sending.run(["chmod", "666", _FILE])
    unplugged.run(["ip", "link", "set", "host0", "down"])
    try:
        yield
    finally:
        unplugged.restart()
        apply = ["mailwright", "apply", "--yes", "--no-dns", f"--limit={sending.name}", str(file)]
        subprocess.run(apply, check=True)


def photograph(page: Path, image: Path) -> None:
    """Write the beginning of a page as a PNG."""
    from tests.page.chromium import browsing  # noqa: PLC0415 - the browser is of the tests

    with browsing(f"--window-size={_WIDTH},900") as browser:
        browser.get(page.as_uri())
        clip = {
            "x": 0,
            "y": 0,
            "width": _WIDTH,
            "height": browser.execute_script(_BEGINNING),
            "scale": _SCALE,
        }
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
    image.parent.mkdir(exist_ok=True)
    image.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
