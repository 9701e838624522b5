"""What the keeper is to do: the file that a deploy writes (roles/backup_store.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = ("long", "short")
"""Retention classes: a snapshot's tag says which is its."""


class Failed(Exception):  # noqa: N818 - as the others of its kind, it is named for what happened
    """What went wrong, in one line that an operator can act on."""


def failed(name: str, error: Failed | OSError) -> str:
    """What went wrong with a machine's repository, in one line that names it."""
    if isinstance(error, OSError):
        return f"{name}: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"
    return str(error)


@dataclass(frozen=True)
class Rules:
    """Which snapshots of a class stay. `within` is seconds; 0: no such rule."""

    within: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


@dataclass(frozen=True)
class Reserve:
    """Room on the store's disk that only the keeper may use: a file of `size` octets that it gives up."""

    file: Path
    size: int


@dataclass(frozen=True)
class Machine:
    """Whose repository it is, and how the keeper reaches it."""

    name: str
    account: str
    """Runs restic, and owns what it writes."""
    options: tuple[str, ...]
    environment: Mapping[str, str]
    password: Path
    """The file with the password of the machine's own key."""
    folder: Path | None
    """The repository itself, where it lies on this machine."""
    quota: int | None
    """Octets that the machine may fill."""
    unit: str | None
    """The server of this repository, without its suffix; it counts what lies there when it starts."""

    @property
    def repository(self) -> str:
        """Where it is, as restic says it."""
        return self.environment["RESTIC_REPOSITORY"]


@dataclass(frozen=True)
class Wanted:
    """The whole file."""

    home: Path
    run: Path
    metrics: Path
    password: Path
    """The file with the password of the keeper's key."""
    group: str
    """Whoever is in it may read the passwords."""
    fresh: int
    """Seconds; a newest snapshot that is older is a fault."""
    parts: int
    """A check reads one part of so many of the data."""
    salvage: bool
    """Whether restic can take damaged packs apart and repair snapshots (0.16 and later)."""
    rules: Mapping[str, Rules]
    reserve: Reserve | None
    units: str
    """What the names of these servers begin with, those of machines that left the fleet, too."""
    machines: tuple[Machine, ...]

    def named(self, name: str | None) -> tuple[Machine, ...]:
        """One machine, or all without a name.

        Raises:
            Failed: there is none of that name.
        """
        found = tuple(m for m in self.machines if name in (None, m.name))
        if name is not None and not found:
            there = ", ".join(m.name for m in self.machines) or "none"
            raise Failed(f"no backups of {name} are kept here; there are those of {there}")
        return found


def read(file: Path) -> Wanted:
    """Read the file.

    Raises:
        Failed: it is missing or damaged.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text())
        paths: dict[str, Any] = {key: Path(data[key]) for key in ("home", "run", "metrics", "password")}
        plain = {key: data[key] for key in ("group", "fresh", "parts", "salvage", "units")}
        reserve = data["reserve"]
        return Wanted(
            **paths,
            **plain,
            rules={name: Rules(**data["rules"][name]) for name in CLASSES},
            reserve=Reserve(Path(reserve["file"]), reserve["size"]) if reserve else None,
            machines=tuple(_machine(one) for one in data["machines"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{file}: {error}: deploy this machine again") from None


def _machine(data: dict[str, Any]) -> Machine:
    folder = data["folder"]
    return Machine(
        name=data["name"],
        account=data["account"],
        options=tuple(data["options"]),
        environment=data["environment"],
        password=Path(data["password"]),
        folder=Path(folder) if folder else None,
        quota=data["quota"],
        unit=data["unit"],
    )
