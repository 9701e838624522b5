"""The MTA-STS policies of a fleet: what is published in the DNS and served over HTTPS is one and the same."""

from __future__ import annotations

from maildns.policy.mta_sts import MtaSts
from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet, Machine


def sts_policy(fleet: Fleet, domain: Domain) -> MtaSts | None:
    """The policy of a domain; `None` where it has none. Its hosts are the domain's MX."""
    said = domain.mta_sts
    if said is None:
        return None
    return MtaSts(said.mode, tuple(str(fleet.exchanger(m)) for m in domain.mx), said.max_age)


def served_on(fleet: Fleet, machine: Machine) -> tuple[tuple[Domain, MtaSts], ...]:
    """The domains whose policies a machine serves, with the policies."""
    found = ((d, sts_policy(fleet, d)) for d in fleet.domains if d.mta_sts)
    return tuple((d, p) for d, p in found if p and d.mta_sts and machine.name in d.mta_sts.served_by)
