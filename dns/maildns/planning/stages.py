"""In which order changes are made over many zones.

Within a zone, `maildns.planning.order` has put them in order, and a zone is changed in one go where it
can be. What another zone points at has to be there first, so that some zones are changed in two or more
stages. Removals come after everything else, in all zones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from maildns.planning.order import POINTERS, by_unit, gained, lost, only_removes
from maildns.policy.spf.record import is_spf
from maildns.provider import Change

Node = tuple[str, str]
"""(zone, unit): a unit is all that happens at one name."""

_SPF_NAME = re.compile(r"(?:include:|redirect=)([^\s%]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Stage:
    """What can be done at the same time: the changes of each zone, in their order."""

    removes: bool
    """Whether this takes values away and brings none."""
    changes: Mapping[str, tuple[Change, ...]]


def stages(changes: Mapping[str, Sequence[Change]]) -> tuple[Stage, ...]:
    """The changes of all zones, as few stages as their pointers allow, none of them empty.

    What is added or replaced comes first, what is pointed at in an earlier stage than a pointer to
    it from another zone. Pure removals follow, pointers to other zones first.
    """
    adding: dict[Node, list[Change]] = {}
    removing: dict[Node, list[Change]] = {}
    for zone, of_zone in changes.items():
        for name, unit in by_unit(of_zone).items():
            (removing if only_removes(unit, zone) else adding)[zone, name] = unit
    return (
        *_in_stages(adding, _after_what_they_point_at(adding), removes=False),
        *_in_stages(removing, _after_what_points_at_them(removing), removes=True),
    )


def targets(change: Change, side: Callable[[Change], frozenset[str]]) -> Iterator[str]:
    """The names that values of one side (`gained`, `lost`) point at."""
    for value in side(change):
        if change.key[1] in POINTERS:
            yield value.rsplit(" ", 1)[-1]
        elif change.key[1] == "TXT" and is_spf(value):
            yield from (name.lower().rstrip(".") + "." for name in _SPF_NAME.findall(value))


_After = Mapping[Node, frozenset[Node]]
"""A unit, and the units that must be made before it."""


def _after_what_they_point_at(units: Mapping[Node, Sequence[Change]]) -> _After:
    places = _places(units)
    return {
        node: frozenset(places[t] for c in unit for t in targets(c, gained) if t in places) - {node}
        for node, unit in units.items()
    }


def _after_what_points_at_them(units: Mapping[Node, Sequence[Change]]) -> _After:
    places = _places(units)
    before: dict[Node, set[Node]] = {node: set() for node in units}
    for node, unit in units.items():
        for change in unit:
            for target in targets(change, lost):
                if target in places:
                    before[places[target]].add(node)
    return {node: frozenset(nodes - {node}) for node, nodes in before.items()}


def _places(units: Mapping[Node, Sequence[Change]]) -> dict[str, Node]:
    return {name: (zone, name) for zone, name in units}


def _in_stages(units: Mapping[Node, Sequence[Change]], after: _After, *, removes: bool) -> Iterator[Stage]:
    levels = _levels(after)
    waited_for = frozenset().union(*after.values())
    last: dict[str, int] = {}
    for (zone, _), level in levels.items():
        last[zone] = max(last.get(zone, 0), level)
    table: dict[int, dict[str, list[Change]]] = {}
    for node, unit in units.items():
        # What nobody waits for goes with the last of its zone: one batch rather than two.
        level = levels[node] if node in waited_for else last[node[0]]
        table.setdefault(level, {}).setdefault(node[0], []).extend(unit)
    for level in sorted(table):
        yield Stage(removes, {zone: tuple(found) for zone, found in table[level].items()})


def _levels(after: _After) -> dict[Node, int]:
    """How many changes of zone lie on the longest way to each unit; a loop is cut where it was entered."""
    levels: dict[Node, int] = {}
    pending: set[Node] = set()

    def level(node: Node) -> int:
        if node not in levels:
            pending.add(node)
            before = [(level(n), n) for n in sorted(after[node]) if n not in pending]
            pending.discard(node)
            levels[node] = max((deep + (n[0] != node[0]) for deep, n in before), default=0)
        return levels[node]

    for node in after:
        level(node)
    return levels
