"""What the provider contract is run against: a fresh zone at a provider, and a door for somebody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from maildns.provider import Provider

Lines = tuple[str, ...]
"""Master-file lines with absolute names and a TTL: `a.example. 300 A 192.0.2.1`."""


@dataclass
class Target:
    """A fresh zone at a provider, and the door through which somebody else edits it.

    The zone holds the apex NS, and what it points at where the provider wants that: see `spine`.
    """

    zone: str
    provider: Provider
    add: Callable[[Lines], None]
    """Somebody else's hand: past the provider under test, as its own console would do it."""
    delete: Callable[[Lines], None]
    spine: frozenset[str] = frozenset()
    """Names of records that were there from the start."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """What this provider documents that it cannot hold: the contract's name for it to a part of the
    sentence with which `audit` must refuse it. Everything else must be held."""

    def foreign(self, *lines: str) -> None:
        """Somebody else adds records."""
        self.add(lines)

    def foreign_delete(self, *lines: str) -> None:
        """Somebody else deletes records."""
        self.delete(lines)
