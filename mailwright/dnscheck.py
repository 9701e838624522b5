"""What the world sees of a site, against what it should see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from maildns.authority import AskError, Server
from maildns.check import State, Verdict, check_fcrdns, check_mx_targets, check_rrset
from maildns.hosts import reverse_name
from maildns.records import RRset
from mailwright.model.site import Site
from mailwright.world import World
from mailwright.zones import SENDS, desired

AT_ONCE = 8
"""Questions under way at a time."""


def check_site(site: Site) -> Iterator[Verdict]:
    """Ask the authoritative servers of every zone, ours or published by hand, and judge.

    Raises:
        DnsError: the fleet wants what cannot be published.
        SecretError: a DKIM key is missing.
    """
    wanted = desired(site)
    rrsets = [*(r for zone in wanted.zones for r in zone.rrsets), *wanted.by_hand]
    answering = _Answering(World(site.fleet))
    answering.find(each.name for each in rrsets)
    yield from answering.verdicts
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for verdicts in pool.map(lambda each: tuple(_check(each, answering)), rrsets):
            yield from verdicts
    for machine in site.fleet.with_role(SENDS):
        for ip in machine.addresses:
            yield check_fcrdns(str(machine.fqdn), str(ip), reverse_name(ip), answering)


def _check(wanted: RRset, servers: _Answering) -> Iterator[Verdict]:
    yield from check_rrset(wanted, servers)
    if wanted.type == "MX":
        yield from check_mx_targets(wanted, servers)


_Found = tuple[Server, ...] | AskError


class _Answering:
    """The servers of a zone that answer at all: one that does not is one finding, not one a record."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._names: dict[str, _Found] = {}
        self._zones: dict[str, _Found] = {}
        self.verdicts: list[Verdict] = []

    def find(self, names: Iterable[str]) -> None:
        """Find the zones of names and probe their servers, so that later questions only read."""
        for name in names:
            try:
                self(name)
            except AskError:
                continue

    def __call__(self, name: str) -> tuple[Server, ...]:
        if name not in self._names:
            self._names[name] = self._find(name)
        found = self._names[name]
        if isinstance(found, AskError):
            raise found
        return found

    def _find(self, name: str) -> _Found:
        try:
            zone = self._world.zone_of(name)
        except AskError as error:
            return error
        if zone not in self._zones:
            self._zones[zone] = self._probe(zone)
        return self._zones[zone]

    def _probe(self, zone: str) -> _Found:
        try:
            servers = self._world.servers(zone)
        except AskError as error:
            return error
        answering = []
        for server in servers:
            try:
                server.ask(zone, "SOA")
            except AskError as error:
                self.verdicts.append(Verdict(zone, f"server {server}", State.UNKNOWN, str(error)))
            else:
                answering.append(server)
        return tuple(answering) or AskError(f"no server of {zone} answers")
