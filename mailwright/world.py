"""Where the fleet's names are answered for: the authoritative servers of a zone, ours or not."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from maildns.asking.authority import AskError, Server, servers_of, within_reach
from maildns.errors import MaildnsError
from maildns.judging.dnssec import ROOT, Anchors, read_anchors
from maildns.names import longest_zone, within
from maildns.policy.spf.resolver import ResolverLookup
from maildns.records import from_rdata
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.model.providers import Rfc2136
from mailwright.zones import zone_providers

LIFETIME = 5.0
"""Seconds for one question to a resolver."""

DNS_PORT = 53

FEW = 2
"""Servers of somebody else's zone that are asked: enough to get by one that is down."""


class World:
    """Finds authoritative servers and remembers them.

    Zones on a server that takes our updates are asked at that server first. For all others, and
    for host names, the operator's resolver is asked; a lab has only its own servers.
    """

    def __init__(self, fleet: Fleet) -> None:
        """Ask nothing yet."""
        self._fleet = fleet
        self._zones = zone_providers(fleet)
        self._provided = frozenset(zone for zone, provider in self._zones.items() if provider)
        self._servers: dict[str, tuple[Server, ...]] = {}
        self._homeless: dict[str, tuple[str, ...]] = {}
        self._resolver = dns.resolver.Resolver(configure=fleet.lab is None)
        self._resolver.lifetime = LIFETIME
        self._port = DNS_PORT
        if fleet.lab is not None:
            providers = [p for p in fleet.providers.values() if isinstance(p, Rfc2136)]
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(str(p.server), p.port) for p in providers
            ]
            # A lab's servers may be programs on loopback that share a free port.
            self._port = providers[0].port if providers else DNS_PORT

    def lookup(self, name: str) -> tuple[str, ...]:
        """The addresses that a resolver gives for a host name; empty when it gives none."""
        found: list[str] = []
        for type_ in ("A", "AAAA"):
            try:
                found += [str(rdata) for rdata in self._resolver.resolve(name, type_)]
            except dns.exception.DNSException:
                continue
        return tuple(found)

    def zone_of(self, name: str) -> str:
        """The zone that holds a name.

        Raises:
            AskError: nobody says.
        """
        zone = longest_zone(name, self._provided)
        if zone:
            return zone
        try:
            return dns.resolver.zone_for_name(
                dns.name.from_text(name), resolver=self._resolver, lifetime=LIFETIME
            ).to_text()
        except dns.exception.DNSException as error:
            raise AskError(f"nobody says which zone holds {name} ({type(error).__name__})") from None

    def servers(self, zone: str) -> tuple[Server, ...]:
        """The authoritative servers of a zone; of a provider's zone, the provider's comes first.

        Those that do not say which others there are come last.

        Raises:
            AskError: none can be found, or none answers.
        """
        if zone not in self._servers:
            self._servers[zone] = self._all(zone)
        return self._servers[zone]

    def without_address(self, zone: str) -> tuple[str, ...]:
        """Servers of a zone that nobody gives an address for now, so that they cannot be asked.

        A lab's own servers stand for all that it has.

        Raises:
            AskError: none can be found, or the first does not answer.
        """
        if self.lab:
            return ()
        if zone not in self._homeless:
            servers = self.servers(zone)
            asked = {server.address for server in servers}
            names = sorted(servers[0].ask(zone, "NS"))
            self._homeless[zone] = tuple(n for n in names if not asked & self._addresses(zone, servers[0], n))
        return self._homeless[zone]

    def _addresses(self, zone: str, first: Server, name: str) -> frozenset[str]:
        if within(name, zone):
            return first.ask(name, "A") | first.ask(name, "AAAA")
        return frozenset(self.lookup(name))

    def few_servers(self, zone: str) -> tuple[Server, ...]:
        """Some authoritative servers of a zone above ours, as the resolver finds them.

        Raises:
            AskError: none can be found.
        """
        return tuple(itertools.islice(self._found(zone), FEW))

    def server(self, name: str, address: str) -> Server:
        """The name server at an address."""
        return Server(name, address, self._port)

    def parent_of(self, zone: str) -> str | None:
        """The zone above; `None` for the root, and where a lab has none.

        Raises:
            AskError: nobody says.
        """
        name = dns.name.from_text(zone)
        if name == dns.name.root:
            return None
        try:
            return self.zone_of(name.parent().to_text())
        except AskError:
            if self._fleet.lab is not None:
                return None
            raise

    def resolve(self, name: str, type_: str) -> frozenset[str]:
        """What the resolver gives for a name, aliases followed; empty when there is nothing.

        Raises:
            AskError: it does not say.
        """
        try:
            return frozenset(from_rdata(rdata) for rdata in self._resolver.resolve(name, type_, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return frozenset()
        except dns.exception.DNSException as error:
            raise AskError(f"the resolver gives no {type_} of {name} ({type(error).__name__})") from None

    @cached_property
    def spf_lookup(self) -> ResolverLookup:
        """The resolver as SPF asks it: each set once."""
        return ResolverLookup(self._resolver, LIFETIME)

    @property
    def lab(self) -> str | None:
        """The lab's name, where the fleet is one."""
        return self._fleet.lab.name if self._fleet.lab else None

    @cached_property
    def anchors(self) -> Anchors:
        """The trust anchors: the root's (a lab has no root), and those that the fleet's resolvers have.

        Raises:
            DnsError: a file of anchors cannot be read.
        """
        found = {} if self.lab else dict(read_anchors(ROOT))
        for machine in self._fleet.machines:
            place = machine.roles.get("unbound", {}).get("trust_anchors")
            if place:
                found |= _anchors_in(str(place))
        return found

    def _all(self, zone: str) -> tuple[Server, ...]:
        """By the first server that says; one that is down must not hide the others."""
        silent: dict[Server, AskError] = {}
        try:
            for first in self._found(zone):
                try:
                    found = servers_of(zone, first, self.lookup, self._port)
                except AskError as error:
                    silent[first] = error
                else:
                    known = {server.address for server in found}
                    rest = (server for server in silent if server.address not in known)
                    return within_reach((*found, *rest), has_route)
        except AskError as error:
            raise next(iter(silent.values()), error) from None
        raise next(iter(silent.values()), AskError(f"no name server of {zone} has an address"))

    def _found(self, zone: str) -> Iterator[Server]:
        """The servers of a zone, by the resolver."""
        where = self._fleet.providers.get(self._zones.get(zone) or "")
        if isinstance(where, Rfc2136):
            yield Server(str(where.server), str(where.server), where.port)
        try:
            names = sorted(str(rdata.target) for rdata in self._resolver.resolve(zone, "NS"))
        except dns.exception.DNSException as error:
            raise AskError(f"no name server of {zone} can be found ({type(error).__name__})") from None
        for name in names:
            for address in self.lookup(name):
                yield Server(name, address, self._port)

    def anchored(self, zone: str) -> bool:
        """Whether a trust anchor says that a zone is signed; anchors that cannot be read say nothing."""
        try:
            return zone in self.anchors
        except DnsError:
            return False


def has_route(address: str) -> bool:
    """Whether this machine has a route to an address. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, DNS_PORT))
    except OSError:
        return False
    return True


def _anchors_in(path: str) -> Anchors:
    try:
        return read_anchors(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise DnsError(f"unbound: trust_anchors: {path}: {error}") from None
    except MaildnsError as error:
        raise DnsError(f"unbound: trust_anchors: {path}: {error}") from None
