"""In which order changes are made in a zone: what is pointed at comes before its pointer, and goes after it.

Between zones, `maildns.planning.stages` keeps the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from maildns.planning.ownership import is_marker_name, marked_key
from maildns.policy.hosts import NULL_MX
from maildns.provider import Change
from maildns.records import RrKey

POINTERS = frozenset({"MX", "SRV", "CNAME", "PTR"})
"""The types whose values end in a name that must be there."""


def additive_first(changes: Iterable[Change], zone: str) -> tuple[Change, ...]:
    """Order whole units: what only adds, what replaces, what only removes."""
    units = by_unit(changes)
    ordered = sorted(units, key=lambda name: (*_rank(units[name], zone), name))
    return tuple(change for name in ordered for change in units[name])


def by_unit(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Changes by the unit in which they are made, in the order of first mention."""
    units: dict[str, list[Change]] = {}
    for change in changes:
        units.setdefault(change.unit, []).append(change)
    return units


def in_batches(
    changes: Iterable[Change], size: Callable[[Sequence[Change]], int], limit: int
) -> Iterator[list[Change]]:
    """Cut changes between units only, in their order, each batch up to `limit`.

    A unit of more than that is a batch of its own.
    """
    batch: list[Change] = []
    used = 0
    for unit in by_unit(changes).values():
        more = size(unit)
        if batch and used + more > limit:
            yield batch
            batch, used = [], 0
        batch += unit
        used += more
    if batch:
        yield batch


def only_removes(unit: Iterable[Change], zone: str) -> bool:
    """Whether a unit takes values away and brings none, its marker aside."""
    real = [c for c in unit if not is_marker_name(c.key[0], zone)]
    return any(lost(c) for c in real) and not any(gained(c) for c in real)


def announces(unit: Iterable[Change]) -> bool:
    """Whether a unit tells the world what hosts must be doing by then.

    A new MX is delivered to at once, and a server that does not know the domain yet turns its mail away for
    good (RFC 5321 section 3.6.2). A first TLSA set is believed at once, so the key must be served (RFC 7671
    section 8.1); a new id makes senders fetch the MTA-STS policy, and they hold what they get for long (RFC
    8461 section 8.1).
    """
    return any(map(_announces, unit))


def _announces(change: Change) -> bool:
    name, type_ = change.key
    if change.new is None:
        return False
    if type_ == "MX":
        return bool(gained(change) - {NULL_MX})
    return (type_ == "TLSA" and change.old is None) or (type_ == "TXT" and name.startswith("_mta-sts."))


def parts(changes: Iterable[Change], zone: str) -> Iterator[list[Change]]:
    """What may be made at different times: each set with its marker; a name with a CNAME as a whole."""
    for unit in by_unit(changes).values():
        if any(c.key[1] == "CNAME" for c in unit):
            yield unit
            continue
        sets: dict[RrKey, list[Change]] = {}
        for change in unit:
            sets.setdefault(_about(change, zone), []).append(change)
        yield from sets.values()


def _about(change: Change, zone: str) -> RrKey:
    """The set that is changed, or marked."""
    side = change.new or change.old
    marked = marked_key(side) if side and is_marker_name(change.key[0], zone) else None
    return marked or change.key


def _rank(unit: list[Change], zone: str) -> tuple[str, bool]:
    real = [c for c in unit if not is_marker_name(c.key[0], zone)]
    points = any(c.key[1] in POINTERS for c in real)
    if not any(lost(c) for c in real):
        return ("1 adds", points)
    if only_removes(real, zone):
        return ("3 removes", not points)
    return ("2 replaces", points)


def lost(change: Change) -> frozenset[str]:
    """The values that go."""
    return (change.old.rdata if change.old else frozenset()) - (
        change.new.rdata if change.new else frozenset()
    )


def gained(change: Change) -> frozenset[str]:
    """The values that come."""
    return (change.new.rdata if change.new else frozenset()) - (
        change.old.rdata if change.old else frozenset()
    )
