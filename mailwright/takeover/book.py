"""The records of a zone that is taken over: each is accounted for, none is passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from maildns.errors import RecordError
from maildns.names import longest_zone
from maildns.records import RrKey, RRset, canonical_value


class Fate(StrEnum):
    """What becomes of a record."""

    TAKEN = "taken over"
    """The fleet file says it."""
    LEFT = "left to others"
    """No mail record, or nobody's to plan: the fleet does not touch it."""
    UNCLEAR = "not understood"
    """It is about mail, and the fleet file cannot say it, or not all of it."""


@dataclass(frozen=True)
class Line:
    """One record, what becomes of it, and why."""

    name: str
    type: str
    value: str
    fate: Fate
    reason: str
    becomes: tuple[str, ...] = ()
    """What the fleet publishes in its place, where that is something else."""


class Book:
    """Records by name and type, with what has been said of each."""

    def __init__(self, zones: Iterable[str], rrsets: Iterable[RRset]) -> None:
        """`zones` are those that are taken over; a record in none of them is nobody's."""
        self.zones = tuple(zones)
        self.rrsets = tuple(rrsets)
        self._held: dict[RrKey, frozenset[str]] = {}
        self._said: dict[tuple[str, str, str], tuple[Fate, str]] = {}
        self._beyond: list[Line] = []
        for each in self.rrsets:
            beyond = frozenset(value for value in each.rdata if not _is_plain(each.type, value))
            self._beyond += (Line(*each.key, value, Fate.LEFT, _BEYOND) for value in sorted(beyond))
            if each.rdata - beyond:
                self._held[each.key] = self._held.get(each.key, frozenset()) | each.rdata - beyond
        self._names = tuple(sorted({name for name, _ in self._held}))

    def at(self, name: str, type_: str) -> frozenset[str]:
        """The values of a set."""
        return self._held.get((name, type_), frozenset())

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return self._names

    def addresses(self, name: str) -> frozenset[str]:
        """Of both families."""
        return self.at(name, "A") | self.at(name, "AAAA")

    def zone_of(self, name: str) -> str | None:
        """The zone that holds a name."""
        return longest_zone(name, self.zones)

    def say(self, name: str, type_: str, value: str, fate: Fate, reason: str) -> None:
        """Account for a record; what is said first stands."""
        self._said.setdefault((name, type_, value), (fate, reason))

    def lines(self, published: Mapping[RrKey, Mapping[str, str]]) -> Iterator[Line]:
        """Every record. `published` is what the fleet wants: by set, each value with its reason."""
        yield from self._beyond
        for (name, type_), values in sorted(self._held.items()):
            wanted = published.get((name, type_), {})
            for value in sorted(values):
                if value in wanted:
                    yield Line(name, type_, value, Fate.TAKEN, wanted[value])
                    continue
                fate, reason = self._said.get((name, type_, value)) or _leftover(self, name, type_)
                becomes = tuple(sorted(wanted.keys() - values)) if fate is not Fate.LEFT else ()
                yield Line(name, type_, value, fate, reason, becomes)


_BEYOND = "more than a plain record: only its provider can say what it does"


def _is_plain(type_: str, value: str) -> bool:
    """Whether a value is one that DNS has; providers also tell of aliases, proxies and the like."""
    try:
        return canonical_value(type_, value) == value
    except RecordError:
        return False


_LEFTOVERS = {
    "A": "a host that mail has no part in",
    "AAAA": "a host that mail has no part in",
    "CNAME": "an alias that mail has no part in",
    "TXT": "a text that is no mail policy",
    "PTR": "the address of no machine here",
}


def _leftover(book: Book, name: str, type_: str) -> tuple[Fate, str]:
    """What nobody has spoken for."""
    zone = book.zone_of(name)
    if zone is None:
        return Fate.UNCLEAR, "in none of the zones that are imported"
    if name == zone and type_ in ("A", "AAAA"):
        return Fate.LEFT, "the address of the zone's own name is the website's business"
    return Fate.LEFT, _LEFTOVERS.get(type_, f"a fleet has no {type_} records of this kind")
