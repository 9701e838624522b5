"""What lies in a repository right now."""

from __future__ import annotations

import time
from pathlib import Path

from mailwright_backup_keeper import room
from mailwright_backup_keeper.memory import Seen, Snapshot, last_seen, remember
from mailwright_backup_keeper.restic import Restic
from mailwright_backup_keeper.wanted import CLASSES


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
        snapshots = {
            one["id"]: Snapshot(
                one["time"],
                _seen(one["id"], before, arrived),
                _class(one.get("tags") or []),
                one.get("paths") or [],
                (one.get("summary") or {}).get("total_bytes_processed"),
            )
            for one in restic.json("snapshots", "--no-lock")
        }
    seen = Seen(snapshots, octets)
    if seen != before:
        remember(wanted, machine.name, seen)
    return seen


def _arrived(folder: Path) -> dict[str, float]:
    """When the file of each snapshot was written, by our own clock."""
    return {
        file.name: file.stat().st_mtime
        for file in (folder / "snapshots").glob("*")
        if len(file.name) == 64  # noqa: PLR2004 - a SHA-256 in hexadecimal digits
    }


def _seen(name: str, before: Seen, arrived: dict[str, float] | None) -> float:
    known = before.snapshots.get(name)
    return known.seen if known else (arrived or {}).get(name, time.time())


def _class(tags: list[str]) -> str:
    """Without a tag that says so, as long as can be."""
    return next((kind for kind in CLASSES if kind in tags), CLASSES[0])
