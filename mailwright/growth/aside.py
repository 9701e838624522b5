"""What forbids that a machine leaves its fleet. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet
from mailwright.zones import SENDS


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
