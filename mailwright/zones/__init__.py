"""From the fleet and the needs of its machines to what each zone must hold. Pure.

Roles need no DNS knowledge for the addresses, PTR records and mail policies of their machine: these
follow from the fleet file. What else a role wants the world to see, it declares as `Record` needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from maildns.errors import MaildnsError
from maildns.names import longest_zone
from maildns.records import Entry, RRset, collect
from mailwright.model.aside import closed_aside
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.needs import Needs
from mailwright.model.site import Site
from mailwright.zones.dkim import dkim_entries
from mailwright.zones.domains import domain_entries
from mailwright.zones.keys import key_entries, keys_in_use
from mailwright.zones.machines import SENDS, machine_entries, pool_entries

__all__ = ["SENDS", "Zone", "Zones", "desired", "zone_providers"]


@dataclass(frozen=True)
class Zone:
    """One zone of ours and everything of ours that belongs in it."""

    name: str
    provider: str
    """Its key in the fleet's `providers`."""
    rrsets: tuple[RRset, ...]


@dataclass(frozen=True)
class Zones:
    """What the world must see of the fleet."""

    zones: tuple[Zone, ...]
    by_hand: tuple[RRset, ...]
    """What belongs in zones that no provider of ours holds."""
    in_use: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """TLSA name to the values of the keys that the machines there are given now."""


def desired(site: Site) -> Zones:
    """Sort every record of the site into the zone that holds it: the longest suffix.

    Raises:
        DnsError: a record that may not be published, or two that contradict each other.
        SecretError: a DKIM key is missing.
    """
    fleet = site.fleet
    machines = tuple((machine, site.plan(machine).merged) for machine in fleet.machines)
    try:
        rrsets = collect(_entries(site, machines), fleet.dns.ttl)
    except MaildnsError as error:
        raise DnsError(str(error)) from None
    providers = zone_providers(fleet)
    placed: dict[str | None, list[RRset]] = {}
    for each in rrsets:
        zone = longest_zone(each.name, providers)
        placed.setdefault(zone if zone and providers[zone] else None, []).append(each)
    zones = tuple(
        Zone(name, provider, tuple(placed.get(name, ()))) for name, provider in providers.items() if provider
    )
    certificates = (each for _, needs in machines for each in needs.certificates)
    in_use: dict[str, frozenset[str]] = {}
    for certificate in certificates:
        for name, value in keys_in_use(certificate, site.secrets):
            in_use[name] = in_use.get(name, frozenset()) | {value}
    return Zones(zones, tuple(placed.get(None, ())), in_use)


def zone_providers(fleet: Fleet) -> dict[str, str | None]:
    """Each zone the fleet file knows, with its provider; `None` where it is published by hand."""
    domains = {str(d.zone or d.name): d.provider for d in fleet.domains}
    return domains | {str(z.name): z.provider for z in fleet.reverse_zones}


def _entries(site: Site, machines: Iterable[tuple[Machine, Needs]]) -> Iterator[Entry]:
    """Every value, with the sentence that says why it must be there."""
    for machine, needs in machines:
        yield from machine_entries(site.fleet, machine)
        for need in needs.records:
            yield Entry(need.name, need.type, need.value, need.reason)
        for certificate in needs.certificates:
            yield from key_entries(machine, certificate, site.secrets)
    leading = closed_aside(site.fleet)
    for pool in leading.pools:
        yield from pool_entries(leading, pool)
    for domain, leads in zip(site.fleet.domains, leading.domains, strict=True):
        yield from domain_entries(site.fleet, domain, leads, site.includes)
        yield from dkim_entries(domain, site.keyring, site.secrets)
