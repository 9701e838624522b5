"""What a machine is called, what its addresses are called, and who may use its name in mail."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.policy.hosts import address, null_mx, pointer
from maildns.policy.spf import NOBODY, Spf
from maildns.records import Entry
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.pools import Pool

SENDS = "postfix"
"""The role whose machines send mail to the world."""


def machine_entries(fleet: Fleet, machine: Machine) -> Iterator[Entry]:
    """Addresses, their reverse names, and the mail policy of the host name."""
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


def pool_entries(fleet: Fleet, pool: Pool) -> Iterator[Entry]:
    """Where a pool's service name leads; balancers send no mail, so that the name may not."""
    name = str(pool.service)
    for ip in fleet.pool_addresses(pool):
        yield address(name, ip, f"the pool {pool.name}")
    for ip in pool.addresses:
        yield pointer(ip, name)
    if any(domain.name == pool.service for domain in fleet.domains):
        return
    yield null_mx(name, f"the pool {pool.name} takes no mail for its own name")
    yield NOBODY.entry(name, f"nobody sends as the pool {pool.name}")
