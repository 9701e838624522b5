"""A fleet in which machines stand aside: they are there, and nobody is led to them. Pure."""

from __future__ import annotations

from collections.abc import Callable

from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool


def aside(fleet: Fleet, name: str) -> Fleet:
    """The same machines, of which one serves nobody: no pool has it, no domain names it.

    Where it is the only one, it stays: there is nobody to serve instead.
    """
    pools = tuple(
        p.model_copy(update={"members": _members(fleet, p, name) or p.members}) for p in fleet.pools
    )
    domains = tuple(_domain(domain, lambda names: _others(names, name) or names) for domain in fleet.domains)
    return fleet.model_copy(update={"pools": pools, "domains": domains})


def closed_aside(fleet: Fleet) -> Fleet:
    """The same machines, of which the closed ones stand aside: a client that came would find no answer."""
    for machine in fleet.machines:
        if machine.closed:
            fleet = aside(fleet, machine.name)
    return fleet


def without(fleet: Fleet, name: str) -> Fleet:
    """The fleet as it would be had it never had the machine."""
    pools = tuple(p.model_copy(update={"members": _members(fleet, p, name)}) for p in fleet.pools)
    domains = tuple(_domain(domain, lambda names: _others(names, name)) for domain in fleet.domains)
    domains = tuple(
        d.model_copy(update={"links": {k: v for k, v in d.links.items() if v != name}}) for d in domains
    )
    machines = tuple(m for m in fleet.machines if m.name != name)
    return fleet.model_copy(update={"pools": pools, "domains": domains, "machines": machines})


def _members(fleet: Fleet, pool: Pool, name: str) -> tuple[str, ...]:
    return tuple(m.name for m in fleet.members(pool) if m.name != name)


def _domain(domain: Domain, fewer: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Domain:
    changes: dict[str, object] = {"mx": fewer(domain.mx)}
    if domain.mta_sts:
        served_by = fewer(domain.mta_sts.served_by)
        changes["mta_sts"] = domain.mta_sts.model_copy(update={"served_by": served_by})
    if domain.clients:
        named = {service: fewer(names) for service, names in domain.clients}
        changes["clients"] = domain.clients.model_copy(update=named)
    return domain.model_copy(update=changes)


def _others(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)
