"""From the fleet and the needs of its machines to what each zone must hold. Pure.

Roles need no DNS knowledge for the addresses, PTR records and mail policies of their machine: these
follow from the fleet file. What else a role wants the world to see, it declares as `Record` needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from maildns.dkim import DkimKey, selector_name
from maildns.dmarc import Dmarc
from maildns.errors import MaildnsError
from maildns.hosts import address, mx, null_mx, pointer
from maildns.names import longest_zone
from maildns.records import Entry, RRset, collect
from maildns.spf import NOBODY, Spf
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.secrets import Secrets
from mailwright.model.site import Site

SENDS = "postfix"
"""The role whose machines send mail to the world."""


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
        yield from _machine(site.fleet, machine)
        for need in site.plan(machine).merged.records:
            yield Entry(need.name, need.type, need.value, need.reason)
    for domain in site.fleet.domains:
        yield from _domain(site.fleet, domain, site.secrets)


def _machine(fleet: Fleet, machine: Machine) -> Iterator[Entry]:
    name = str(machine.fqdn)
    for ip in machine.addresses:
        yield address(name, ip, f"machine {machine.name}")
        yield pointer(ip, name)
    if any(domain.name == machine.fqdn for domain in fleet.domains):
        return  # a mail domain of its own: the domain's policy is the name's
    if SENDS in machine.roles:
        yield Spf(own_address=True).entry(name, f"{machine.name} greets with this name and bounces from it")
    else:
        yield null_mx(name, f"{machine.name} takes no mail")
        yield NOBODY.entry(name, f"{machine.name} sends no mail")


def _domain(fleet: Fleet, domain: Domain, secrets: Secrets) -> Iterable[Entry]:
    name = str(domain.name)
    senders = fleet.with_role(SENDS)
    if domain.mx:
        yield from mx(name, [fleet.machine(m).fqdn for m in domain.mx])
    else:
        yield null_mx(name, f"{domain.name.bare} takes no mail")
    spf = Spf(
        addresses=tuple(ip for machine in senders for ip in machine.addresses),
        include=tuple(map(str, domain.spf.include)),
        all=domain.spf.all,
    )
    who = ", ".join(machine.name for machine in senders) or "nobody"
    yield spf.entry(name, f"who sends for {domain.name.bare}: {who}")
    for key in domain.dkim:
        public = _public_key(secrets, domain, key.selector, key.algorithm)
        yield public.entry(name, key.selector, f"verifies {key.algorithm} signatures of {domain.name.bare}")
    policy = domain.dmarc
    dmarc = Dmarc(policy.policy, policy.subdomain_policy, policy.rua, policy.ruf, policy.alignment)
    yield dmarc.entry(name)
    yield from dmarc.authorisations(name)


def _public_key(secrets: Secrets, domain: Domain, selector: str, algorithm: str) -> DkimKey:
    secret = f"dkim/{domain.name.bare}/{selector}"
    try:
        key = DkimKey.from_private(secrets.get(secret))
    except MaildnsError as error:
        raise DnsError(f"secret {secret}: {error}") from None
    if key.algorithm != algorithm:
        where = selector_name(str(domain.name), selector)
        raise DnsError(f"secret {secret} holds an {key.algorithm} key; the fleet says {algorithm} ({where})")
    return key
