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
_HEIGHT = 1180
"""CSS pixels of the page's beginning: the verdict, the drawing, the machines and the first failures."""


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
    mode = sending.run(["stat", "-c", "%a", _FILE]).stdout.strip()
    sending.run(["chmod", "666", _FILE])
    unplugged.run(["ip", "link", "set", "host0", "down"])
    try:
        yield
    finally:
        sending.run(["chmod", mode, _FILE])
        unplugged.restart()


def photograph(page: Path, image: Path) -> None:
    """Write the beginning of a page as a PNG, in twice the resolution."""
    from tests.page.chromium import browsing  # noqa: PLC0415 - the browser is of the tests

    with browsing("--force-device-scale-factor=2", f"--window-size=1180,{_HEIGHT}") as browser:
        browser.get(page.as_uri())
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"optimizeForSpeed": False})
    image.parent.mkdir(exist_ok=True)
    image.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
