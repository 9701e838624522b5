"""Who sends for a domain, as receivers are told by SPF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maildns.policy.spf import Spf
from maildns.policy.spf.flatten import Flattened, flat_entries
from maildns.records import Entry
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.zones.machines import SENDS


def own_policy(fleet: Fleet, domain: Domain) -> Spf:
    """The fleet's senders, and others by reference."""
    return Spf(
        addresses=tuple(ip for machine in fleet.with_role(SENDS) for ip in machine.addresses),
        include=tuple(map(str, domain.spf.include)),
        all=domain.spf.all,
    )


def sender_entries(fleet: Fleet, domain: Domain, includes: Mapping[str, Flattened]) -> Iterator[Entry]:
    """The domain's SPF record; where it is flattened, with the addresses of what it includes.

    Raises:
        RecordError: too many lookups.
        DnsError: an include that is to be flattened was not resolved.
    """
    name, spf = str(domain.name), own_policy(fleet, domain)
    who = ", ".join(machine.name for machine in fleet.with_role(SENDS)) or "nobody"
    reason = f"who sends for {domain.name.bare}: {who}"
    if not (domain.spf.flatten and spf.include):
        yield spf.entry(name, reason)
        return
    missing = [include for include in spf.include if include not in includes]
    if missing:
        raise DnsError(f"{name}: {missing[0]} is to be flattened and has not been looked up")
    kept = tuple(include for include in spf.include if includes[include].kept)
    stays = (f"{include.removesuffix('.')} stays: {includes[include].kept}" for include in kept)
    flat = [include for include in spf.include if include not in kept]
    networks = [network for include in flat for network in includes[include].networks]
    rest = Spf(spf.addresses, kept, all=spf.all)
    why = f"flattened: {', '.join(include.removesuffix('.') for include in flat) or 'nothing'}"
    yield from flat_entries(name, rest, networks, "; ".join([reason, *stays]), why)
