"""A DNS provider and its name server made of nothing but Python: batches, failures and delays on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from maildns.asking.authority import Server, SilentError
from maildns.planning.order import by_unit
from maildns.planning.plan import applied
from maildns.provider import Change, ConflictError, ProviderError, Snapshot
from maildns.records import RRset


@dataclass
class Memory:
    """Holds zones. A batch is at most `limit` units; what happens is told in `log`."""

    zones: dict[str, tuple[RRset, ...]]
    limit: int = 1000
    fail_at: int | None = None
    """The number of the batch that fails, from 1; counted in `batches`."""
    unreadable: set[str] = field(default_factory=set)
    meet: threading.Barrier | None = None
    """Where readers wait for each other."""
    batches: int = 0
    log: list[tuple[str, str]] = field(default_factory=list)
    """(zone, unit) as they are written."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, zone: str) -> Snapshot:
        if self.meet:
            self.meet.wait(timeout=20)
        if zone in self.unreadable:
            raise ProviderError(f"reading {zone}: nobody answers")
        return Snapshot(zone, self.zones[zone], self._etag(zone))

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        if etag != self._etag(zone):
            raise ConflictError(f"{zone} moved; plan again")
        units = list(by_unit(changes).items())
        for at in range(0, len(units), self.limit):
            with self.lock:
                self.batches += 1
                if self.batches == self.fail_at:
                    raise ProviderError(f"{zone}: batch {self.batches} fails")
                for unit, of_unit in units[at : at + self.limit]:
                    self.zones[zone] = applied(self.zones[zone], of_unit)
                    self.log.append((zone, unit))

    def audit(self, _: Iterable[RRset]) -> tuple[str, ...]:
        return ()

    def _etag(self, zone: str) -> str:
        return str(hash(self.zones[zone]))

    def flat(self) -> dict[str, frozenset[RRset]]:
        return {zone: frozenset(held) for zone, held in self.zones.items()}


@dataclass(frozen=True)
class MemoryServer(Server):
    """The provider's name server; `behind`, it answers with what was there at first, if at all."""

    memory: Memory | None = field(default=None, compare=False)
    behind: bool = False

    def ask(self, name: str, type_: str) -> frozenset[str]:
        if self.behind:
            raise SilentError(f"{self} does not answer")
        held = (r for zone in self.memory.zones.values() for r in zone if r.key == (name, type_))
        return frozenset(value for r in held for value in r.rdata)
