"""What `mailwright upgrade` shows of pending updates: to people, and to programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailwright.command.console import columns, problem, say
from mailwright.upgrading.pending import Pending, Update, megabytes
from mailwright.upgrading.reboots import foreseen


def show(plans: Sequence[Pending]) -> None:
    """Print what is due on each machine."""
    for pending in plans:
        if pending.problem:
            problem(f"{pending.name}  cannot be upgraded: {pending.problem}")
            continue
        say(f"{pending.name}  {_summary(pending)}", "bold")
        if rows := list(_rows(pending)):
            columns(rows, ("yellow", "", ""))
        if pending.interrupted:
            say("  dpkg was interrupted: it is put right first", "yellow")
        if pending.kept_back:
            gone = " ".join(f"--remove {name}" for name in pending.removed)
            why = f"would take {', '.join(pending.removed)} away ({gone})" if gone else "apt cannot say why"
            say(f"  kept back: {', '.join(pending.kept_back)}: {why}", "yellow")
        elif pending.removed:
            say(f"  removed: {', '.join(pending.removed)}", "red")
        if pending.owed.restarts:
            say(f"  run on libraries of before: {', '.join(pending.owed.restarts)}", "yellow")


def as_data(plans: Sequence[Pending]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {
            "machine": pending.name,
            "problem": pending.problem or None,
            "updates": [_update(update) for update in pending.updates],
            "held": [_update(update) for update in pending.held],
            "kept_back": list(pending.kept_back),
            "would_remove": list(pending.removed),
            "download_bytes": pending.download,
            "dpkg_interrupted": pending.interrupted,
            "reboot_required": list(pending.owed.reboot),
            "reboot_expected": list(foreseen(update.name for update in pending.updates)),
            "stale_units": list(pending.owed.restarts),
        }
        for pending in plans
    ]


def _summary(pending: Pending) -> str:
    count, mended = len(pending.updates), len(pending.security)
    parts = [f"{count} package{'s' * (count != 1)} to upgrade" if count else "nothing to upgrade"]
    if mended:
        parts[0] += f" ({mended} for security)"
    if pending.download:
        parts.append(f"{megabytes(pending.download)} to fetch")
    if pending.owed.reboot:
        parts.append(f"a reboot is required ({', '.join(pending.owed.reboot)})")
    elif expected := foreseen(update.name for update in pending.updates):
        parts.append(f"a reboot is likely ({', '.join(expected)})")
    return ", ".join(parts)


def _rows(pending: Pending) -> list[tuple[str, str, str]]:
    rows = [(u, "for security" if u.security else "") for u in pending.updates]
    rows += [(u, "held: it stays") for u in pending.held]
    return [(f"  {u.name}", f"{u.old or 'new:'} {'-> ' if u.old else ''}{u.new}", why) for u, why in rows]


def _update(update: Update) -> dict[str, Any]:
    return {
        "package": update.name,
        "from": update.old or None,
        "to": update.new,
        "security": update.security,
    }
