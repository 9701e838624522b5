"""Each zone's parent, its NS records and its servers: do they agree?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial

import dns.flags

from maildns.asking.authority import AskError, LameError, values_in
from maildns.judging import delegation as judging
from maildns.judging.check import State, Verdict
from maildns.judging.delegation import KIND, Referral, Sight, read_referral
from maildns.names import within
from mailwright.dnscheck.asking import Asking, Remembered
from mailwright.dnscheck.task import Task
from mailwright.zones import Zones

GRACE = 10.0
"""Seconds that secondaries have to follow the primary, before different serials are a fault."""

STEP = 1.0


def tasks(wanted: Zones, asking: Asking) -> Iterator[Task]:
    """One for each zone that the fleet's records are in."""
    for zone in zones_of(wanted, asking):
        yield Task(KIND, zone, partial(_check, zone, asking))


def zones_of(wanted: Zones, asking: Asking) -> list[str]:
    """The zones that a provider holds, and those of the fleet file that are published by hand."""
    return sorted({zone.name for zone in wanted.zones} | set(asking.declared))


def _check(zone: str, asking: Asking) -> Iterator[Verdict]:
    try:
        servers = asking.listed(zone)
    except AskError as error:
        yield Verdict(zone, "servers", State.UNKNOWN, str(error), KIND)
        return
    referral, said = _referral(zone, asking)
    yield from said
    sights: list[tuple[Remembered, Sight]] = []
    for server in [*servers, *_only_at_parent(servers, referral, asking)]:
        try:
            sight = _look(server, zone)
        except LameError as error:
            hidden = server.name == server.address  # a primary that nobody is sent to may keep to itself
            yield (judging.silent if hidden else judging.lame)(zone, server, str(error))
        except AskError as error:
            yield judging.silent(zone, server, str(error))
        else:
            sights.append((server, sight))
            yield judging.judge_server(zone, sight)
    reached = {server.name for server, _ in sights}
    named = frozenset[str]().union(*(sight.ns for _, sight in sights), referral.ns if referral else ())
    yield from _nowhere(zone, named - reached, asking)
    if not sights:
        return
    if not said:
        yield judging.judge_ns(zone, referral, [sight for _, sight in sights])
    if referral and any(within(name, zone) for name in referral.ns):
        yield judging.judge_glue(zone, referral, _addresses(referral, zone, asking))
    public = [
        pair for pair in sights if pair[0].name != pair[0].address
    ] or sights  # a hidden primary may lead
    yield _serials(zone, public)


def _nowhere(zone: str, names: Iterable[str], asking: Asking) -> Iterator[Verdict]:
    """Of names that led to no server: who has no address, and of whom nobody says."""
    for name in sorted(names):
        try:
            if not asking.addresses(name):
                yield judging.nowhere(zone, name)
        except AskError as error:
            yield Verdict(zone, f"server {name.removesuffix('.')}", State.UNKNOWN, str(error), KIND)


def _look(server: Remembered, zone: str) -> Sight:
    soa = server.query(zone, "SOA")
    ns = server.ask(zone, "NS")
    tcp, recursive = "", False
    try:
        # One question for two facts: that TCP works, and whether recursion is offered when asked for.
        recursive = bool(server.query(zone, "SOA", tcp=True, recurse=True).flags & dns.flags.RA)
    except AskError as error:
        tcp = str(error)
    return Sight(server, ns, _serial(values_in(soa, zone, "SOA")), recursive, tcp)


def _serial(soa: frozenset[str]) -> int:
    """Of the SOA's value: the third field (RFC 1035 section 3.3.13)."""
    return int(next(iter(soa)).split()[2]) if soa else 0


def _serials(zone: str, sights: list[tuple[Remembered, Sight]]) -> Verdict:
    """A zone that just changed takes a moment to reach its secondaries, so it is asked again."""
    start = time.monotonic()
    now = [sight for _, sight in sights]
    while len({sight.serial for sight in now}) > 1 and time.monotonic() - start < GRACE:
        time.sleep(STEP)
        now = [Sight(server, sight.ns, _fresh_serial(server, zone, sight)) for server, sight in sights]
    return judging.judge_serials(zone, now, GRACE)


def _fresh_serial(server: Remembered, zone: str, before: Sight) -> int:
    try:
        return _serial(values_in(server.fresh(zone, "SOA"), zone, "SOA"))
    except AskError:
        return before.serial


def _referral(zone: str, asking: Asking) -> tuple[Referral | None, list[Verdict]]:
    """What the parent says; or the verdict where it cannot be had."""
    what = "NS records"
    try:
        parent = asking.world.parent_of(zone)
        if parent is None:
            sentence = "the lab has no zone above this one: its resolvers are told where it is"
            return None, [Verdict(zone, what, State.OK, sentence, KIND)]
        error: AskError | None = None
        for server in asking.parent_servers(parent):
            try:
                answer = server.referral(zone)
            except AskError as failed:
                error = failed
                continue
            return read_referral(answer, zone, parent, server), []
    except AskError as failed:
        error = failed
    return None, [Verdict(zone, what, State.UNKNOWN, f"the parent is not known: {error}", KIND)]


def _only_at_parent(
    servers: tuple[Remembered, ...], referral: Referral | None, asking: Asking
) -> Iterator[Remembered]:
    """Servers to which the parent sends the world, though the zone does not name them."""
    known = {server.address for server in servers}
    for name in sorted(referral.ns - {server.name for server in servers}) if referral else ():
        for address in sorted(referral.glue.get(name) or asking.world.lookup(name)) if referral else ():
            if address not in known:
                known.add(address)
                yield asking.server(name, address)


def _addresses(referral: Referral, zone: str, asking: Asking) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name in referral.ns:
        if within(name, zone):
            try:
                found[name] = frozenset(asking.addresses(name))
            except AskError:
                continue
    return found
