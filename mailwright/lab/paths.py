"""Where the lab keeps things on the controller."""

from __future__ import annotations

from pathlib import Path

BASE = Path("/var/lib/mailwright")
LABS = BASE / "lab"
CACHE = BASE / "cache"
IMAGES = CACHE / "images"
PACKAGES = CACHE / "packages"


def lab_state(name: str) -> Path:
    """The directory of one lab: keys, secrets, anchors and its hosts' disks."""
    return LABS / name
