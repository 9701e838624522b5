"""What lies in a repository right now."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from mailwright_backup_keeper import room
from mailwright_backup_keeper.memory import Seen, Snapshot, last_seen, remember
from mailwright_backup_keeper.restic import Restic
from mailwright_backup_keeper.wanted import CLASSES

_FRACTION = re.compile(r"\.\d+")


def look(restic: Restic) -> Seen:
    """The snapshots and the room they take; remembered, because a machine cannot date what is remembered.

    Of a repository that lies here, restic is asked only if its snapshots are others than remembered.

    Raises:
        Failed: the repository cannot be read.
    """
    wanted, machine = restic.wanted, restic.machine
    before = last_seen(wanted, machine.name)
    arrived = _arrived(machine.folder) if machine.folder else None
    octets = room.filled(machine.folder) if machine.folder else None
    snapshots = before.snapshots
    if arrived is None or set(arrived) != set(snapshots):
        listed = restic.json("snapshots", "--no-lock")
        first = not any(one["id"] in before.snapshots for one in listed)
        snapshots = {
            one["id"]: Snapshot(
                one["time"],
                _seen(one, before, arrived, first=first),
                _class(one.get("tags") or []),
                one.get("paths") or [],
                (one.get("summary") or {}).get("total_bytes_processed"),
            )
            for one in listed
        }
    seen = Seen(snapshots, octets)
    if seen != before:
        remember(wanted, machine.name, seen)
    return seen


def _arrived(folder: Path) -> dict[str, float]:
    """When the file of each snapshot was written, by our own clock."""
    found = {}
    for file in (folder / "snapshots").glob("*"):
        if len(file.name) == 64:  # noqa: PLR2004 - a SHA-256 in hexadecimal digits
            with suppress(FileNotFoundError):  # a prune took it away meanwhile
                found[file.name] = file.stat().st_mtime
    return found


def _seen(one: Mapping[str, Any], before: Seen, arrived: dict[str, float] | None, *, first: bool) -> float:
    """When it arrived, by our own clock.

    Who sees a repository elsewhere for the first time cannot know that, and takes the machine's word: a new
    keeper would otherwise count a year's snapshots as of one day, and let all but one of them go.
    """
    now = time.time()
    if known := before.snapshots.get(one["id"]):
        return known.seen
    if arrived is not None:
        return arrived.get(one["id"], now)
    return min(_said(one["time"], now), now) if first else now


def _said(text: str, otherwise: float) -> float:
    """The time that a machine wrote into a snapshot (RFC 3339, with nanoseconds)."""
    try:
        return datetime.fromisoformat(_FRACTION.sub("", text)).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _class(tags: list[str]) -> str:
    """Without a tag that says so, as long as can be."""
    return next((kind for kind in CLASSES if kind in tags), CLASSES[0])
