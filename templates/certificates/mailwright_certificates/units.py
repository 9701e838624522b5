"""Services take a new certificate: by reload, once they have found nothing wrong with their configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailwright_certificates.wanted import Unit


class OwedError(Exception):
    """A service still shows the old certificate; the message says why, in a line."""


def owe(folder: Path, units: Iterable[Unit]) -> None:
    """Remember that units are to be reloaded, so that a kill cannot lose it. A boot pays all debts."""
    owed = folder / "owed"
    owed.mkdir(parents=True, exist_ok=True)
    for unit in units:
        (owed / unit.name).touch()


def owed(folder: Path, units: Iterable[Unit]) -> Iterator[Unit]:
    """Those that are."""
    return (unit for unit in dict.fromkeys(units) if (folder / "owed" / unit.name).exists())


def take(folder: Path, taken: Path, unit: Unit) -> None:
    """Reload one, if it runs at all.

    Raises:
        OwedError: its own check or the reload failed; it goes on as it was, and stays owed.
    """
    if _run(["systemctl", "is-active", "--quiet", unit.name]) is None:
        if unit.check and (said := _run(["sh", "-c", unit.check])) is not None:
            raise OwedError(f"{unit.name} is not reloaded, its configuration is broken: {said}")
        # The mark of the deploy: it carries the time before the reload and counts once that succeeded.
        taken.mkdir(parents=True, exist_ok=True)
        half = taken / f"{unit.name}.new"
        half.touch()
        verb = "reload" if unit.reload else "try-restart"
        if (said := _run(["systemctl", verb, unit.name])) is not None:
            raise OwedError(f"systemctl {verb} {unit.name}: {said}")
        half.replace(taken / unit.name)
    (folder / "owed" / unit.name).unlink(missing_ok=True)


def clear() -> None:
    """What the last round of the timer failed at has been done by now."""
    _run(["systemctl", "reset-failed", "mailwright-certificates.service"])


def _run(command: list[str]) -> str | None:
    """Run a command; what it said last if it failed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return None if done.returncode == 0 else (lines[-1][:200] if lines else f"status {done.returncode}")
