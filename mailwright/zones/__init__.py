"""From the fleet and the needs of its machines to what each zone must hold. Pure.

Roles need no DNS knowledge for the addresses, PTR records and mail policies of their machine: these
follow from the fleet file. What else a role wants the world to see, it declares as `Record` needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maildns.errors import MaildnsError
from maildns.names import longest_zone
from maildns.records import Entry, RRset, collect
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.model.site import Site
from mailwright.zones.dkim import dkim_entries
from mailwright.zones.domains import domain_entries
from mailwright.zones.keys import key_entries, keys_in_use
from mailwright.zones.machines import SENDS, machine_entries

__all__ = ["SENDS", "Zone", "Zones", "desired", "entries", "keys_of", "zone_providers"]


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


def desired(site: Site) -> Zones:
    """Sort every record of the site into the zone that holds it: the longest suffix.

    Raises:
        DnsError: a record that may not be published, or two that contradict each other.
        SecretError: a DKIM key is missing.
    """
    fleet = site.fleet
    try:
        rrsets = collect(entries(site), fleet.dns.ttl)
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
    return Zones(zones, tuple(placed.get(None, ())))


def zone_providers(fleet: Fleet) -> dict[str, str | None]:
    """Each zone the fleet file knows, with its provider; `None` where it is published by hand."""
    domains = {str(d.zone or d.name): d.provider for d in fleet.domains}
    return domains | {str(z.name): z.provider for z in fleet.reverse_zones}


def entries(site: Site) -> Iterator[Entry]:
    """Every value, with the sentence that says why it must be there."""
    for machine in site.fleet.machines:
        yield from machine_entries(site.fleet, machine)
        needs = site.plan(machine).merged
        for need in needs.records:
            yield Entry(need.name, need.type, need.value, need.reason)
        for certificate in needs.certificates:
            yield from key_entries(machine, certificate, site.secrets)
    for domain in site.fleet.domains:
        yield from domain_entries(site.fleet, domain)
        yield from dkim_entries(domain, site.keyring, site.secrets)


def keys_of(site: Site) -> dict[str, str]:
    """TLSA name to the value of the key that the machine there is given now.

    Raises:
        DnsError, SecretError: as `desired`.
    """
    return {
        name: value
        for machine in site.fleet.machines
        for certificate in site.plan(machine).merged.certificates
        for name, value in keys_in_use(certificate, site.secrets)
    }
