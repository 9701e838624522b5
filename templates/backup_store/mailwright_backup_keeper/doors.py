"""Doors of machines that left the fleet, or make backups no more: closed. What they stored stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mailwright_backup_keeper.wanted import Failed, Wanted

SYSTEM = Path("/etc/systemd/system")
_KINDS = ("socket", "service")
"""What a server consists of. A folder of drop-ins that an administrator made (systemd.unit(5)) is none."""


def left(wanted: Wanted) -> list[str]:
    """Servers of repositories whose machines are not among the wanted ones."""
    there = {file.stem for kind in _KINDS for file in SYSTEM.glob(f"{wanted.units}*.{kind}")}
    return sorted(there - {machine.unit for machine in wanted.machines})


def close(wanted: Wanted) -> None:
    """Stop them, and let them never start again.

    Raises:
        Failed: one cannot be stopped.
    """
    for unit in left(wanted):
        done = subprocess.run(
            ["systemctl", "disable", "--now", f"{unit}.socket", f"{unit}.service"],
            capture_output=True,
            text=True,
            check=False,
        )
        for kind in _KINDS:
            (SYSTEM / f"{unit}.{kind}").unlink(missing_ok=True)
        if done.returncode != 0 and "does not exist" not in done.stderr:
            raise Failed(f"{unit}: cannot be stopped: {done.stderr.strip()[-200:]}")
