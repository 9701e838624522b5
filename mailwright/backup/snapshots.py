"""Snapshots as host programs tell of them, and whether a machine has those that it should have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mailwright.model.errors import MailwrightError
from mailwright.model.needs import BackupPath

Retention = Literal["long", "short"]
RETENTIONS: tuple[Retention, ...] = ("long", "short")
"""The classes by which snapshots are kept; every machine has snapshots of the first one."""

_KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"))


class BackupError(MailwrightError):
    """Backups cannot be looked at, made or brought back."""


@dataclass(frozen=True, order=True)
class Snapshot:
    """One snapshot of a machine."""

    time: datetime
    """When it was begun, by the machine's clock."""
    id: str
    retention: str
    """Its class: `long` or `short`."""
    paths: tuple[str, ...] = ()
    size: int | None = None
    """Octets of what a restore brings back, where the program that made it wrote that down."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Snapshot:
        """Read one as the host programs say it.

        Raises:
            BackupError: it is none.
        """
        try:
            moment = datetime.fromisoformat(data["time"])
            size = data.get("bytes")
            return cls(moment, data["id"], data["class"], tuple(data["paths"]), size)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackupError(f"that is no snapshot: {type(error).__name__}: {error}") from None

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "id": self.id,
            "class": self.retention,
            "time": stamp(self.time),
            "paths": list(self.paths),
            "bytes": self.size,
        }


@dataclass(frozen=True)
class Standing:
    """How a machine stands in one class: what it has, and what is wrong with that."""

    machine: str
    retention: str
    snapshots: tuple[Snapshot, ...]
    """Oldest first."""
    age: float | None
    """Seconds since the newest was begun."""
    faults: tuple[str, ...] = ()

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot."""
        return self.snapshots[-1] if self.snapshots else None


def standing(
    machine: str,
    retention: str,
    snapshots: Iterable[Snapshot],
    paths: Sequence[BackupPath],
    *,
    fresh: float,
    now: datetime,
) -> Standing:
    """Judge a machine's snapshots of one class.

    `paths` are those that its roles want in this class. `fresh`: the newest may be so many seconds old.
    """
    mine = tuple(sorted(s for s in snapshots if s.retention == retention))
    if not mine:
        return Standing(machine, retention, (), None, ("there is no snapshot",))
    newest = mine[-1]
    age = (now - newest.time).total_seconds()
    faults = []
    if age > fresh:
        faults.append(f"the newest is {span(age)} old, and may be {span(fresh)}")
    faults += [f"{path.path} is not in it" for path in paths if not holds(newest, path)]
    return Standing(machine, retention, mine, age, tuple(faults))


def holds(snapshot: Snapshot, path: BackupPath) -> bool:
    """Whether a snapshot has a path, or one above it: itself, or the copy that its dump made."""
    names = (path.path, path.copied)
    return any(name == had or name.startswith(f"{had}/") for name in names for had in snapshot.paths)


def stamp(moment: datetime) -> str:
    """A time as lists and reports write it: UTC, RFC 3339."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time in the largest unit that it fills: `3 h`."""
    return next(
        (f"{seconds // size:.0f} {unit}" for size, unit in _SPANS if seconds >= size), f"{seconds:.0f} s"
    )


def amount(octets: float | None) -> str:
    """A size as people read it: `1.4 MiB`."""
    if octets is None:
        return "?"
    unit = 0
    while octets >= _KIB and unit < len(_UNITS) - 1:
        octets, unit = octets / _KIB, unit + 1
    return f"{octets:.1f} {_UNITS[unit]}" if unit else f"{octets:.0f} B"
