"""Where the fleet's names are answered for: the authoritative servers of a zone, ours or not."""

from __future__ import annotations

import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from maildns.authority import AskError, Server, servers_of
from maildns.names import longest_zone
from mailwright.model.fleet import Fleet
from mailwright.model.providers import Rfc2136
from mailwright.zones import zone_providers

LIFETIME = 5.0
"""Seconds for one question to a resolver."""


class World:
    """Finds authoritative servers and remembers them.

    Zones on a server that takes our updates are asked at that server first. For all others, and
    for host names, the operator's resolver is asked; a lab has only its own servers.
    """

    def __init__(self, fleet: Fleet) -> None:
        """Ask nothing yet."""
        self._fleet = fleet
        self._zones = zone_providers(fleet)
        self._servers: dict[str, tuple[Server, ...]] = {}
        self._resolver = dns.resolver.Resolver(configure=fleet.lab is None)
        self._resolver.lifetime = LIFETIME
        if fleet.lab is not None:
            providers = (p for p in fleet.providers.values() if isinstance(p, Rfc2136))
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(str(p.server), p.port) for p in providers
            ]

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
        zone = longest_zone(name, [z for z, provider in self._zones.items() if provider])
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

        Raises:
            AskError: none can be found, or the first does not answer.
        """
        if zone not in self._servers:
            self._servers[zone] = servers_of(zone, self._first(zone), self.lookup)
        return self._servers[zone]

    def _first(self, zone: str) -> Server:
        where = self._fleet.providers.get(self._zones.get(zone) or "")
        if isinstance(where, Rfc2136):
            return Server(str(where.server), str(where.server), where.port)
        try:
            names = sorted(str(rdata.target) for rdata in self._resolver.resolve(zone, "NS"))
        except dns.exception.DNSException as error:
            raise AskError(f"no name server of {zone} can be found ({type(error).__name__})") from None
        for name in names:
            for address in self.lookup(name):
                return Server(name, address)
        raise AskError(f"no name server of {zone} has an address")
