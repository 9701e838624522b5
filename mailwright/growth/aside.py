"""A fleet in which one machine stands aside, and what forbids that it goes altogether. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool
from mailwright.zones import SENDS


def aside(fleet: Fleet, name: str) -> Fleet:
    """The same machines, of which one serves nobody: no pool has it, no domain names it.

    Where it is the only one, it stays: there is nobody to serve instead.
    """
    pools = tuple(
        p.model_copy(update={"members": _members(fleet, p, name) or p.members}) for p in fleet.pools
    )
    domains = tuple(_domain(domain, lambda names: _others(names, name) or names) for domain in fleet.domains)
    return fleet.model_copy(update={"pools": pools, "domains": domains})


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


def refusals(fleet: Fleet, name: str) -> Iterator[str]:
    """Why a machine must not go: a sentence for each thing that would be without."""
    if len(fleet.machines) == 1:
        yield "it is the fleet's only machine"
        return
    for pool in fleet.balanced_by(name):
        yield f"it balances the pool {pool.name}: name another machine in its `balancers` first"
    for pool in fleet.pools_of(name):
        rest = len(fleet.members(pool)) - 1
        if not rest:
            yield f"it is the only member of the pool {pool.name}: add another one first"
        elif rest < pool.keep_serving:
            yield f"the pool {pool.name} would have {rest} members and keeps {pool.keep_serving} serving"
    senders = [m.name for m in fleet.with_role(SENDS)]
    if senders == [name]:
        yield f"it is the fleet's only sender: no other machine has the role {SENDS}"
    for domain in fleet.domains:
        yield from _needed_by(domain, name)


def _needed_by(domain: Domain, name: str) -> Iterator[str]:
    of = f"of {domain.name.bare}"
    if domain.mx == (name,):
        yield f"it is the only MX {of}: name another in `mx` first"
    if domain.mta_sts and domain.mta_sts.served_by == (name,):
        yield f"it alone serves the MTA-STS policy {of}: name another in `served_by` first"
    for service, names in domain.clients or ():
        if names == (name,):
            yield f"it alone is named in `clients.{service}` {of}: name another first"
    for label, target in domain.links.items():
        if target == name:
            yield f"`links.{label}` {of} leads to it: name another first"
