"""Which records are a machine's own, which lead clients to it, and a plan cut down to some of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from maildns.planning.order import only_removes, parts
from maildns.planning.ownership import is_marker_name, marked_key
from maildns.provider import Change
from maildns.records import RrKey, RRset
from mailwright.dnsplan import Plans
from mailwright.model.aside import aside, without
from mailwright.model.site import Site
from mailwright.zones import desired

Chosen = Callable[[RrKey], bool]


def own_records(site: Site, name: str) -> frozenset[RrKey]:
    """Sets that must be there before a machine does anything: its names, addresses, and who may send.

    Without those that lead somebody to it, whom it would have to serve.
    """
    return _differing(site, replace(site, fleet=without(site.fleet, name))) - leading_records(site, name)


def leading_records(site: Site, name: str) -> frozenset[RrKey]:
    """Sets by which clients or other servers find a machine: of a pool's name, an MX, a service."""
    return _differing(site, replace(site, fleet=aside(site.fleet, name)))


def _differing(one: Site, other: Site) -> frozenset[RrKey]:
    first, second = _sets(one), _sets(other)
    return frozenset(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _sets(site: Site) -> dict[RrKey, frozenset[str]]:
    wanted = desired(site)
    found: list[RRset] = [*wanted.by_hand, *(each for zone in wanted.zones for each in zone.rrsets)]
    return {each.key: each.rdata for each in found}


def part_of(plans: Plans, chosen: Chosen, *, removals: bool = True) -> Plans:
    """The part of a plan that changes chosen sets; the rest is `kept` for later.

    `removals`: also what only goes.
    """
    zones = []
    kept: dict[str, frozenset[RrKey]] = {}
    for plan in plans.zones:
        later = frozenset(
            change.key
            for part in parts(plan.changes, plan.zone)
            if not any(map(chosen, _keys(part, plan.zone)))
            or (not removals and only_removes(part, plan.zone))
            for change in part
        )
        kept[plan.zone] = later
        zones.append(replace(plan, changes=tuple(c for c in plan.changes if c.key not in later)))
    by_hand = tuple(each for each in plans.by_hand if chosen(each.key))
    return replace(plans, zones=tuple(zones), by_hand=by_hand, kept=kept)


def _keys(part: Sequence[Change], zone: str) -> set[RrKey]:
    """The sets that a part is about: what changes, and what a marker that changes speaks of."""
    sides = [(change.key, change.new or change.old) for change in part]
    return {
        (marked_key(side) if side and is_marker_name(key[0], zone) else None) or key for key, side in sides
    }
