"""The sum of what the roles of a machine need, without contradictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mailwright.model.errors import NeedsError
from mailwright.model.needs.certificate import Certificate
from mailwright.model.needs.host import Absent, Directory, File, Package, Sysctl, Unit, User
from mailwright.model.needs.offers import BackupPath, Milter, Port, Reach, Record, Scrape

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Needs:
    """Everything some roles of a machine need. `a + b` merges, and refuses contradictions."""

    packages: tuple[Package, ...] = ()
    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    absent: tuple[Absent, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    units: tuple[Unit, ...] = ()
    ports: tuple[Port, ...] = ()
    reaches: tuple[Reach, ...] = ()
    scrapes: tuple[Scrape, ...] = ()
    backups: tuple[BackupPath, ...] = ()
    records: tuple[Record, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    milters: tuple[Milter, ...] = ()

    def __add__(self, other: Needs) -> Needs:
        """Join two sums of needs.

        Raises:
            NeedsError: the two say different things of one path, account, setting, unit or port.
        """
        return merge((self, other))


# What may be said once only, and by which key. Packages, records, backups and scrapes are sets.
_KEYS: dict[str, tuple[str, ...]] = {
    "users": ("name",),
    "directories": ("path",),
    "files": ("path",),
    "sysctls": ("key",),
    "units": ("name",),
    "ports": ("number", "proto", "audience", "at"),
    "certificates": ("name",),
}


def merge(parts: Iterable[Needs]) -> Needs:
    """Merge needs in order; equal ones are said once.

    Raises:
        NeedsError: two parts contradict each other; the message names both values.
    """
    parts = tuple(parts)
    merged = Needs(
        **{f.name: _union(f.name, [x for p in parts for x in getattr(p, f.name)]) for f in fields(Needs)}
    )
    _check_paths(merged)
    return merged


def _check_paths(merged: Needs) -> None:
    """A path is one thing: a file, a directory or nothing at all."""
    kinds: dict[str, tuple[File | Directory | Absent, ...]] = {
        "a file": merged.files,
        "a directory": merged.directories,
        "absent": merged.absent,
    }
    seen: dict[str, str] = {}
    for kind, needs in kinds.items():
        for need in needs:
            other = seen.setdefault(need.path, kind)
            if other != kind:
                raise NeedsError(f"two roles need different things: {need.path} is {other} and {kind}")


def _union(kind: str, items: list[Any]) -> tuple[Any, ...]:
    seen: dict[Any, Any] = {}
    for item in items:
        key = tuple(getattr(item, k) for k in _KEYS[kind]) if kind in _KEYS else item
        if key not in seen:
            seen[key] = item
        elif kind == "ports":
            continue  # the same opening for two reasons is no contradiction
        elif seen[key] != item:
            raise NeedsError(_contradiction(kind, key, seen[key], item))
    return tuple(seen.values())


def _contradiction(kind: str, key: tuple[Any, ...], one: DataclassInstance, other: DataclassInstance) -> str:
    # Contents are not shown: they may be secret.
    differences = [
        f"{f.name} {getattr(one, f.name)!r} and {getattr(other, f.name)!r}" if f.repr else f.name
        for f in fields(one)
        if getattr(one, f.name) != getattr(other, f.name)
    ]
    return f"two roles need different {kind} {' '.join(map(str, key))}: {', '.join(differences)}"
